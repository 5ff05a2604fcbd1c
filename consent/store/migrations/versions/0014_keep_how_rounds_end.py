"""Keep how rounds of secure sums end, the state of each line of the ledger, and what withdrawals ask of models."""

import json

import sqlalchemy as sa
from alembic import op

from consent.store.tenancy import TENANT, grant, protect

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

SPENDS = sa.table(
    "spends",
    *map(sa.column, ("run_id", "round", "kind", "shared", "brands_per_customer", "committed", "state")),
    sa.column("settled_index"),
)
ROUNDS = sa.table("rounds", *map(sa.column, ("run_id", "round", "body")))
RELEASES = sa.table("releases", *map(sa.column, ("run_id", "round", "log_index")))
OF_THEIR_ROUNDS = "EXISTS (SELECT FROM rounds AS own WHERE own.digest = closings.manifest)"


def upgrade() -> None:
    """Apply; rounds from before were all of trust mode `local`, and a customer at one brand."""
    op.add_column("rounds", sa.Column("slot", sa.Integer(), nullable=True))
    op.create_index(op.f("ix_rounds_run_id_slot"), "rounds", ["run_id", "slot"], unique=True)
    _spends(op.get_bind())
    _secure_sums()
    _remedies()
    if op.get_bind().dialect.name == "postgresql":
        _policies(op.get_bind())


def _spends(connection: sa.Connection) -> None:
    for column in (
        sa.Column("kind", sa.String(length=16), nullable=True),
        sa.Column("shared", sa.Boolean(), nullable=True),
        sa.Column("brands_per_customer", sa.Integer(), nullable=True),
        sa.Column("state", sa.String(length=9), nullable=True),
        sa.Column("settled_index", sa.BigInteger(), nullable=True),
    ):
        op.add_column("spends", column)
    connection.execute(sa.update(SPENDS).values(shared=sa.false(), brands_per_customer=1, state="reserved"))
    for run_id, number, body in connection.execute(sa.select(ROUNDS)).all():
        phase = json.loads(body)["body"]["phase"]
        of_round = (SPENDS.c.run_id == run_id, SPENDS.c.round == number)
        connection.execute(sa.update(SPENDS).where(*of_round).values(kind=phase))
    released = sa.select(RELEASES.c.log_index).where(
        RELEASES.c.run_id == SPENDS.c.run_id, RELEASES.c.round == SPENDS.c.round
    )
    committed = sa.update(SPENDS).where(sa.cast(SPENDS.c.committed, sa.Boolean()).is_(sa.true()))
    connection.execute(committed.values(state="committed", settled_index=released.scalar_subquery()))
    with op.batch_alter_table("spends", schema=None) as batch_op:
        for name, kind in (
            ("kind", sa.String(length=16)),
            ("shared", sa.Boolean()),
            ("brands_per_customer", sa.Integer()),
            ("state", sa.String(length=9)),
        ):
            batch_op.alter_column(name, existing_type=kind, nullable=False)
        batch_op.drop_column("committed")
        batch_op.create_foreign_key(
            batch_op.f("fk_spends_settled_index_log_entries"), "log_entries", ["settled_index"], ["log_index"]
        )


def _log_index(table: str, name: str = "log_index") -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([name], ["log_entries.log_index"], name=op.f(f"fk_{table}_{name}_log_entries"))


def _index_column() -> sa.Column[int]:
    return sa.Column("log_index", sa.BigInteger(), autoincrement=False, nullable=False)


def _task(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["task"], ["tasks.digest"], name=op.f(f"fk_{table}_task_tasks"))


def _secure_sums() -> None:
    op.create_table(
        "run_setups",
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("task", sa.String(length=64), nullable=False),
        sa.Column("coordinator", sa.String(length=64), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        _index_column(),
        _log_index("run_setups"),
        _task("run_setups"),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_run_setups")),
        sa.UniqueConstraint("digest", name=op.f("uq_run_setups_digest")),
    )
    op.create_table(
        "closings",
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("manifest", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        _index_column(),
        _log_index("closings"),
        sa.ForeignKeyConstraint(["manifest"], ["rounds.digest"], name=op.f("fk_closings_manifest_rounds")),
        sa.PrimaryKeyConstraint("run_id", "round", name=op.f("pk_closings")),
        sa.UniqueConstraint("manifest", name=op.f("uq_closings_manifest")),
    )
    op.create_table(
        "abandonments",
        sa.Column("manifest", sa.String(length=64), nullable=False),
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        _index_column(),
        _log_index("abandonments"),
        sa.ForeignKeyConstraint(["manifest"], ["rounds.digest"], name=op.f("fk_abandonments_manifest_rounds")),
        sa.PrimaryKeyConstraint("manifest", name=op.f("pk_abandonments")),
    )
    op.create_index(op.f("ix_abandonments_run_id"), "abandonments", ["run_id"])


def _remedies() -> None:
    op.create_table(
        "remedy_policies",
        sa.Column("task", sa.String(length=64), nullable=False),
        sa.Column("policy", sa.String(length=8), nullable=False),
        _index_column(),
        _log_index("remedy_policies"),
        _task("remedy_policies"),
        sa.PrimaryKeyConstraint("task", name=op.f("pk_remedy_policies")),
    )
    op.create_table(
        "remedies",
        _index_column(),
        sa.Column("brand", sa.String(length=64), nullable=False),
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("purpose", sa.String(length=64), nullable=False),
        sa.Column("task", sa.String(length=64), nullable=False),
        sa.Column("policy", sa.String(length=8), nullable=False),
        sa.Column("first_round", sa.Integer(), nullable=False),
        sa.Column("upto_index", sa.BigInteger(), nullable=False),
        sa.Column("evidence", sa.LargeBinary(), nullable=True),
        sa.Column("closed_index", sa.BigInteger(), nullable=True),
        _log_index("remedies"),
        _log_index("remedies", "closed_index"),
        sa.ForeignKeyConstraint(["purpose"], ["purposes.purpose"], name=op.f("fk_remedies_purpose_purposes")),
        _task("remedies"),
        sa.PrimaryKeyConstraint("log_index", name=op.f("pk_remedies")),
    )
    op.create_index(op.f("ix_remedies_brand_run_id"), "remedies", ["brand", "run_id"])
    op.create_table(
        "remedy_cursors",
        sa.Column("brand", sa.String(length=64), nullable=False),
        sa.Column("seen", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("brand", name=op.f("pk_remedy_cursors")),
    )
    op.create_table(
        "withdrawn_models",
        sa.Column("model", sa.String(length=64), nullable=False),
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("replaced_by", sa.String(length=64), nullable=True),
        _index_column(),
        _log_index("withdrawn_models"),
        sa.PrimaryKeyConstraint("model", name=op.f("pk_withdrawn_models")),
    )


def _policies(connection: sa.Connection) -> None:
    """A brand's agent gives a reservation back, a brand's withdrawals open remedies; the rest is read alone."""
    connection.execute(sa.text(f"GRANT UPDATE (state, settled_index) ON spends TO {TENANT}"))
    protect(connection, "closings", rows=OF_THEIR_ROUNDS, writes=())
    protect(connection, "remedies", writes=("INSERT", "UPDATE"))
    protect(connection, "remedy_cursors", writes=("INSERT", "UPDATE"))
    grant(connection, "remedy_policies")
    grant(connection, "withdrawn_models")
