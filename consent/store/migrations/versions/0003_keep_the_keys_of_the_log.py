"""Keep which keys sign the log, and until when."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "log_keys",
        sa.Column("public_key", sa.String(length=44), nullable=False),
        sa.Column("retires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("log_index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(
            ["log_index"], ["log_entries.log_index"], name=op.f("fk_log_keys_log_index_log_entries")
        ),
        sa.PrimaryKeyConstraint("public_key", name=op.f("pk_log_keys")),
    )
