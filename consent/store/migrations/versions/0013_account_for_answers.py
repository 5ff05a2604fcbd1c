"""Keep hashes of the answers that were given, and by which entry a notice was replaced."""

import json

import sqlalchemy as sa
from alembic import op

from consent.store.tenancy import protect

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

NOTICES = sa.table("notices", *map(sa.column, ("digest", "purpose", "replaced_by", "replaced_index", "log_index")))
ENTRIES = sa.table("log_entries", *map(sa.column, ("log_index", "payload", "key_id")))


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "answer_trees",
        sa.Column("log_index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("batch", sa.String(length=32), nullable=False),
        sa.Column("brand", sa.String(length=64), nullable=False),
        sa.Column("purpose", sa.String(length=64), nullable=True),
        sa.Column("answered_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("leaves", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["log_index"], ["log_entries.log_index"], name=op.f("fk_answer_trees_log_index_log_entries")
        ),
        sa.PrimaryKeyConstraint("log_index", name=op.f("pk_answer_trees")),
    )
    op.create_index(op.f("ix_answer_trees_batch"), "answer_trees", ["batch"])
    op.create_index(op.f("ix_answer_trees_answered_until"), "answer_trees", ["answered_until"])
    if op.get_bind().dialect.name == "postgresql":
        protect(op.get_bind(), "answer_trees", writes=())
    op.add_column("notices", sa.Column("replaced_index", sa.BigInteger(), nullable=True))
    _replacements(op.get_bind())


def _replacements(connection: sa.Connection) -> None:
    """Find in the log by which entry each notice was replaced: those are about nobody."""
    replaced = connection.execute(
        sa.select(NOTICES.c.digest, NOTICES.c.purpose).where(NOTICES.c.replaced_by.is_not(None))
    ).all()
    if not replaced:
        return
    first = connection.scalar(sa.select(sa.func.min(NOTICES.c.log_index)))
    clear = sa.select(ENTRIES.c.log_index, ENTRIES.c.payload).where(
        ENTRIES.c.key_id.is_(None), ENTRIES.c.payload.is_not(None), ENTRIES.c.log_index >= first
    )
    at: dict[tuple[str, str], int] = {}
    for index, payload in connection.execute(clear.order_by(ENTRIES.c.log_index)):
        said = json.loads(payload)
        if said.get("kind") == "notice_published" and said.get("change") == "material":
            at.setdefault((said["replaces"], said["purpose"]), index)
    for digest, purpose in replaced:
        row = (NOTICES.c.digest == digest, NOTICES.c.purpose == purpose)
        connection.execute(sa.update(NOTICES).where(*row).values(replaced_index=at.get((digest, purpose))))
