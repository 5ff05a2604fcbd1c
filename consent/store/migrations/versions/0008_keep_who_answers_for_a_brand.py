"""Keep who answers for what a brand does with its customers' data."""

import sqlalchemy as sa
from alembic import op

from consent.store.tenancy import protect

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "controllers",
        sa.Column("brand", sa.String(length=64), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("log_index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(
            ["log_index"], ["log_entries.log_index"], name=op.f("fk_controllers_log_index_log_entries")
        ),
        sa.PrimaryKeyConstraint("brand", name=op.f("pk_controllers")),
    )
    if op.get_bind().dialect.name == "postgresql":
        protect(op.get_bind(), "controllers")
