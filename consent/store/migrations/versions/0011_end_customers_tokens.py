"""Keep customers' tokens, so that they can be ended, and who is one person in several roles."""

import sqlalchemy as sa
from alembic import op

from consent.store.tenancy import protect

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply; tokens of customers from before are sealed ones, which hold no longer."""
    op.add_column("principals", sa.Column("person", sa.String(length=64), nullable=True))
    op.add_column("rights_requests", sa.Column("person", sa.String(length=64), nullable=True))
    # Who asked and who approved may have been one person in two roles.
    op.execute(
        "UPDATE rights_requests SET state = 'expired' WHERE state IN ('pending', 'approved') "
        "AND requested_by IN (SELECT id FROM principals WHERE name LIKE 'oidc-%')"
    )
    _subject_tokens()
    if op.get_bind().dialect.name == "postgresql":
        protect(op.get_bind(), "subject_tokens")


def _subject_tokens() -> None:
    op.create_table(
        "subject_tokens",
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("token_id", sa.String(length=32), nullable=False),
        sa.Column("brand", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("minted_by", sa.Integer(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("log_index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(
            ["log_index"], ["log_entries.log_index"], name=op.f("fk_subject_tokens_log_index_log_entries")
        ),
        sa.ForeignKeyConstraint(
            ["minted_by"], ["principals.id"], name=op.f("fk_subject_tokens_minted_by_principals")
        ),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_subject_tokens")),
        sa.UniqueConstraint("token_id", name=op.f("uq_subject_tokens_token_id")),
    )
    op.create_index(op.f("ix_subject_tokens_brand_subject"), "subject_tokens", ["brand", "subject"])
    op.create_index(op.f("ix_subject_tokens_brand_expires_at"), "subject_tokens", ["brand", "expires_at"])
