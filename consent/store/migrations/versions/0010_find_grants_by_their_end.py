"""Find grants by when they end, so that sealing anew need not look at everybody."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

ENDING = sa.text("expires_at IS NOT NULL")


def upgrade() -> None:
    """Apply."""
    op.create_index(
        op.f("ix_states_brand_kind_scope_expires_at"),
        "states",
        ["brand", "kind", "scope", "expires_at"],
        sqlite_where=ENDING,
        postgresql_where=ENDING,
    )
