"""Say of each customer's key which payload key wraps it."""

import sqlalchemy as sa
from alembic import context, op

from consent.errors import SetupError
from consent.log.payloads import Vault

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

KEYS = sa.table("subject_keys", *map(sa.column, ("key_id", "wrapped_by")))


def upgrade() -> None:
    """Apply."""
    op.add_column("subject_keys", sa.Column("wrapped_by", sa.String(length=16), nullable=True))
    connection = op.get_bind()
    if connection.scalar(sa.select(KEYS.c.key_id).limit(1)) is not None:
        vault = context.config.attributes.get("vault")
        if not isinstance(vault, Vault):
            raise SetupError("The database holds keys of customers; run `confide consent init`.")
        connection.execute(sa.update(KEYS).values(wrapped_by=vault.current()))
    with op.batch_alter_table("subject_keys", schema=None) as batch_op:
        batch_op.alter_column("wrapped_by", existing_type=sa.String(length=16), nullable=False)
