"""Keep what consents depend on: families, confirmations, signals, requests, keys of programs and webhooks."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    _confirmations()
    _guardians()
    _merges()
    _rights_requests()
    _signals()
    _webhooks()
    _api_keys()
    _columns()
    op.execute(
        "UPDATE states SET notice = (SELECT notice FROM choices WHERE choices.log_index = states.log_index)"
    )


def _confirmations() -> None:
    op.create_table(
        "confirmations",
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("brand", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("choice", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("log_index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(
            ["log_index"], ["log_entries.log_index"], name=op.f("fk_confirmations_log_index_log_entries")
        ),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_confirmations")),
    )
    op.create_index(op.f("ix_confirmations_brand_subject"), "confirmations", ["brand", "subject"], unique=False)


def _guardians() -> None:
    op.create_table(
        "guardians",
        sa.Column("brand", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("guardian", sa.String(length=64), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("log_index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(
            ["log_index"], ["log_entries.log_index"], name=op.f("fk_guardians_log_index_log_entries")
        ),
        sa.PrimaryKeyConstraint("brand", "subject", name=op.f("pk_guardians")),
    )


def _merges() -> None:
    op.create_table(
        "merges",
        sa.Column("brand", sa.String(length=64), nullable=False),
        sa.Column("one", sa.String(length=64), nullable=False),
        sa.Column("other", sa.String(length=64), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("log_index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(
            ["log_index"], ["log_entries.log_index"], name=op.f("fk_merges_log_index_log_entries")
        ),
        sa.PrimaryKeyConstraint("brand", "one", "other", name=op.f("pk_merges")),
    )
    op.create_index(op.f("ix_merges_brand_other"), "merges", ["brand", "other"], unique=False)


def _rights_requests() -> None:
    op.create_table(
        "rights_requests",
        sa.Column("request_id", sa.String(length=32), nullable=False),
        sa.Column("brand", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=True),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("verified_by", sa.String(length=64), nullable=False),
        sa.Column("requested_by", sa.Integer(), nullable=False),
        sa.Column("decided_by", sa.Integer(), nullable=True),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("log_index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(
            ["log_index"], ["log_entries.log_index"], name=op.f("fk_rights_requests_log_index_log_entries")
        ),
        sa.PrimaryKeyConstraint("request_id", name=op.f("pk_rights_requests")),
    )
    op.create_index(
        op.f("ix_rights_requests_brand_subject"), "rights_requests", ["brand", "subject"], unique=False
    )


def _signals() -> None:
    op.create_table(
        "signals",
        sa.Column("log_index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("brand", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("signal", sa.String(length=8), nullable=False),
        sa.Column("conflict", sa.Boolean(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["log_index"], ["log_entries.log_index"], name=op.f("fk_signals_log_index_log_entries")
        ),
        sa.PrimaryKeyConstraint("log_index", name=op.f("pk_signals")),
    )
    op.create_index(op.f("ix_signals_brand_subject"), "signals", ["brand", "subject"], unique=False)


def _webhooks() -> None:
    op.create_table(
        "webhooks",
        sa.Column("webhook_id", sa.String(length=32), nullable=False),
        sa.Column("brand", sa.String(length=64), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("delivered", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("log_index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(
            ["log_index"], ["log_entries.log_index"], name=op.f("fk_webhooks_log_index_log_entries")
        ),
        sa.PrimaryKeyConstraint("webhook_id", name=op.f("pk_webhooks")),
    )


def _api_keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("key_id", sa.String(length=32), nullable=False),
        sa.Column("principal_id", sa.Integer(), nullable=False),
        sa.Column("label", sa.String(length=64), nullable=False),
        sa.Column("key_hash", sa.String(length=64), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_on", sa.Date(), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("log_index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(
            ["log_index"], ["log_entries.log_index"], name=op.f("fk_api_keys_log_index_log_entries")
        ),
        sa.ForeignKeyConstraint(
            ["principal_id"], ["principals.id"], name=op.f("fk_api_keys_principal_id_principals")
        ),
        sa.PrimaryKeyConstraint("key_id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("key_hash", name=op.f("uq_api_keys_key_hash")),
    )


def _columns() -> None:
    op.add_column("choices", sa.Column("collection_point", sa.String(length=64), nullable=True))
    op.add_column("choices", sa.Column("guardian", sa.String(length=64), nullable=True))
    op.add_column("choices", sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("cohorts", sa.Column("rebuilt_index", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("notices", sa.Column("replaced_by", sa.String(length=64), nullable=True))
    op.add_column("states", sa.Column("notice", sa.String(length=64), nullable=True))
    op.add_column("states", sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True))
