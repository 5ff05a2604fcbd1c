"""Say which brand a principal is of and when its token ends; on PostgreSQL, keep brands apart by row."""

import sqlalchemy as sa
from alembic import op

from consent.store.tenancy import TENANT, create_role, grant, protect

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

OF_ONE_BRAND = (
    "cohorts",
    "choices",
    "states",
    "subject_keys",
    "merges",
    "guardians",
    "confirmations",
    "signals",
    "rights_requests",
    "webhooks",
    "api_keys",
)
READ_BY_THEIR_BRAND = ("approvals", "ceilings", "principals", "round_snapshots", "snapshots", "spends")
OF_THEIR_ROUNDS = {
    "rounds": "EXISTS (SELECT FROM round_snapshots AS own WHERE own.manifest = rounds.digest)",
    "releases": "EXISTS (SELECT FROM rounds AS own WHERE own.run_id = releases.run_id "
    "AND own.round = releases.round)",
}
OF_NO_BRAND = ("alembic_version", "log_keys", "notices", "purposes", "tasks")
OF_THEIR_PRINCIPALS = "EXISTS (SELECT FROM principals AS own WHERE own.id = principal_id)"
OF_THEIR_CUSTOMERS = "EXISTS (SELECT FROM subject_keys AS own WHERE own.key_id = log_entries.key_id)"


def upgrade() -> None:
    """Apply."""
    op.add_column("principals", sa.Column("brand", sa.String(length=64), nullable=True))
    op.add_column("principals", sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("api_keys", sa.Column("brand", sa.String(length=64), nullable=True))
    op.execute("UPDATE principals SET brand = name WHERE role = 'brand'")
    if op.get_bind().dialect.name == "postgresql":
        _policies(op.get_bind())


def _policies(connection: sa.Connection) -> None:
    """What a policy selects from is seen through the policies of that table, so `own` rows are the brand's."""
    create_role(connection)
    for table in OF_ONE_BRAND:
        protect(connection, table)
    for table in READ_BY_THEIR_BRAND:
        protect(connection, table, writes=())
    for table, rows in OF_THEIR_ROUNDS.items():
        protect(connection, table, rows=rows, writes=())
    protect(connection, "idempotency_keys", rows=OF_THEIR_PRINCIPALS)
    for table in OF_NO_BRAND:
        grant(connection, table)
    grant(connection, "log_head", writes=("UPDATE",))
    grant(connection, "scrubs", writes=("INSERT", "UPDATE", "DELETE"))
    _log_entries(connection)


def _log_entries(connection: sa.Connection) -> None:
    """A brand reads what is sealed for its customers and what is about nobody, appends, and only ever erases."""
    grant(connection, "log_entries", writes=("INSERT", "UPDATE"))
    erased = "key_id IS NULL AND payload IS NULL AND salt IS NULL"
    policies = {
        "tenant_reads": f"FOR SELECT TO {TENANT} USING (key_id IS NULL OR {OF_THEIR_CUSTOMERS})",
        "tenant_appends": f"FOR INSERT TO {TENANT} WITH CHECK (true)",
        "tenant_erases": f"FOR UPDATE TO {TENANT} USING ({OF_THEIR_CUSTOMERS}) WITH CHECK ({erased})",
    }
    connection.execute(sa.text("ALTER TABLE log_entries ENABLE ROW LEVEL SECURITY"))
    for name, policy in policies.items():
        connection.execute(sa.text(f"CREATE POLICY {name} ON log_entries {policy}"))
