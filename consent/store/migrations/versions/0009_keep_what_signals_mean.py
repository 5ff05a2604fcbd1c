"""Keep what signals and consent strings mean for each brand's purposes."""

import sqlalchemy as sa
from alembic import op

from consent.store.tenancy import protect

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "signal_mappings",
        sa.Column("brand", sa.String(length=64), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("log_index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(
            ["log_index"], ["log_entries.log_index"], name=op.f("fk_signal_mappings_log_index_log_entries")
        ),
        sa.PrimaryKeyConstraint("brand", name=op.f("pk_signal_mappings")),
    )
    if op.get_bind().dialect.name == "postgresql":
        protect(op.get_bind(), "signal_mappings", writes=())
