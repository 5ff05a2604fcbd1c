"""Seal what the log holds about customers under a key of each."""

import json
import secrets

import sqlalchemy as sa
from alembic import context, op

from consent.errors import SetupError
from consent.log.commitments import Opening
from consent.log.openings import SEGMENT_ENTRIES, segment_path
from consent.log.payloads import NONCE_BYTES, DataKey, Subject, Vault

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ENTRIES = sa.table("log_entries", *map(sa.column, ("log_index", "salt", "payload", "key_id")))
CHOICES = sa.table("choices", *map(sa.column, ("log_index", "brand", "subject")))
KEYS = sa.table("subject_keys", *map(sa.column, ("key_id", "brand", "subject", "wrapped")))
SCRUBS = sa.table("scrubs", *map(sa.column, ("place", "requests")))
REPLIES = sa.table("idempotency_keys", *map(sa.column, ("principal_id", "key", "response", "first_index")))


def upgrade() -> None:
    """Apply."""
    _change_tables()
    _number_replies()
    with op.batch_alter_table("idempotency_keys", schema=None) as batch_op:
        batch_op.alter_column("request", existing_type=sa.String(length=64), nullable=True)
        batch_op.alter_column("first_index", existing_type=sa.BigInteger(), nullable=False)
        batch_op.create_index(batch_op.f("ix_idempotency_keys_first_index"), ["first_index"], unique=False)
    _seal()


def _change_tables() -> None:
    op.create_table(
        "subject_keys",
        sa.Column("key_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("brand", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("key_id", name=op.f("pk_subject_keys")),
        sa.UniqueConstraint("brand", "subject", name=op.f("uq_subject_keys_brand_subject")),
    )
    op.create_table(
        "scrubs",
        sa.Column("place", sa.String(length=64), nullable=False),
        sa.Column("requests", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("place", name=op.f("pk_scrubs")),
    )
    op.add_column("log_entries", sa.Column("key_id", sa.BigInteger(), nullable=True))
    sealed = sa.text("key_id IS NOT NULL")
    op.create_index(
        op.f("ix_log_entries_key_id"), "log_entries", ["key_id"], sqlite_where=sealed, postgresql_where=sealed
    )
    op.add_column("idempotency_keys", sa.Column("first_index", sa.BigInteger(), nullable=True))


def _number_replies() -> None:
    connection = op.get_bind()
    for row in connection.execute(sa.select(REPLIES.c.principal_id, REPLIES.c.key, REPLIES.c.response)).all():
        connection.execute(
            sa.update(REPLIES)
            .where(REPLIES.c.principal_id == row.principal_id, REPLIES.c.key == row.key)
            .values(first_index=json.loads(row.response)["log_indices"][0])
        )


def _seal() -> None:
    connection = op.get_bind()
    last = connection.scalar(sa.select(sa.func.max(CHOICES.c.log_index)))
    if last is None:
        return
    vault = context.config.attributes.get("vault")
    if not isinstance(vault, Vault):
        raise SetupError("The database holds openings to be sealed; run `confide consent init`.")
    keys: dict[Subject, DataKey] = {}
    for low in range(0, last + 1, SEGMENT_ENTRIES):
        if _seal_segment(connection, vault, keys, low):
            connection.execute(sa.insert(SCRUBS).values(place=segment_path(low), requests=1))
    connection.execute(sa.insert(SCRUBS).values(place="database", requests=1))


def _seal_segment(connection: sa.Connection, vault: Vault, keys: dict[Subject, DataKey], low: int) -> bool:
    rows = connection.execute(
        sa.select(CHOICES.c.log_index, CHOICES.c.brand, CHOICES.c.subject, ENTRIES.c.salt, ENTRIES.c.payload)
        .join(ENTRIES, ENTRIES.c.log_index == CHOICES.c.log_index)
        .where(CHOICES.c.log_index >= low, CHOICES.c.log_index < low + SEGMENT_ENTRIES)
        .order_by(CHOICES.c.log_index)
    ).all()
    sealed = []
    for row in rows:
        subject = Subject(row.brand, row.subject)
        if subject not in keys:
            keys[subject], wrapped = vault.make(subject, row.log_index)
            fresh = {"key_id": row.log_index, "brand": row.brand, "subject": row.subject, "wrapped": wrapped}
            connection.execute(sa.insert(KEYS).values(fresh))
        opening = keys[subject].seal(
            Opening(row.log_index, row.salt, row.payload), secrets.token_bytes(NONCE_BYTES)
        )
        sealed.append({"index": opening.index, "sealed": opening.ciphertext, "key": opening.key_id})
    if sealed:
        connection.execute(
            sa.update(ENTRIES)
            .where(ENTRIES.c.log_index == sa.bindparam("index"))
            .values(salt=None, payload=sa.bindparam("sealed"), key_id=sa.bindparam("key")),
            sealed,
        )
    return bool(sealed)
