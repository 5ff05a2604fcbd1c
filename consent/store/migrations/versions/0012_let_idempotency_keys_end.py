"""Say on which day a request was made under its key, so that what is kept of it ends."""

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

KEYS = sa.table("idempotency_keys", sa.column("made_on", sa.Date()))


def upgrade() -> None:
    """Apply; what was kept before counts as of today."""
    op.add_column("idempotency_keys", sa.Column("made_on", sa.Date(), nullable=True))
    op.get_bind().execute(sa.update(KEYS).values(made_on=datetime.now(UTC).date()))
    with op.batch_alter_table("idempotency_keys", schema=None) as batch_op:
        batch_op.alter_column("made_on", existing_type=sa.Date(), nullable=False)
    op.create_index(op.f("ix_idempotency_keys_made_on"), "idempotency_keys", ["made_on"])
