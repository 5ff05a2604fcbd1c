"""Create the consent tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "log_entries",
        sa.Column("log_index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("entry", sa.LargeBinary(), nullable=False),
        sa.Column("salt", sa.LargeBinary(), nullable=True),
        sa.Column("payload", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("log_index", name=op.f("pk_log_entries")),
    )
    op.create_table(
        "log_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("frontier", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_log_head_single")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_log_head")),
    )
    op.create_table(
        "choices",
        sa.Column("log_index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("brand", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("scope", sa.String(length=64), nullable=False),
        sa.Column("act", sa.String(length=8), nullable=False),
        sa.Column("notice", sa.String(length=64), nullable=True),
        sa.Column("method", sa.String(length=8), nullable=False),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["log_index"], ["log_entries.log_index"], name=op.f("fk_choices_log_index_log_entries")
        ),
        sa.PrimaryKeyConstraint("log_index", name=op.f("pk_choices")),
    )
    with op.batch_alter_table("choices", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_choices_brand_subject"), ["brand", "subject"], unique=False)

    op.create_table(
        "principals",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("public_key", sa.String(length=44), nullable=True),
        sa.Column("log_index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(
            ["log_index"], ["log_entries.log_index"], name=op.f("fk_principals_log_index_log_entries")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_principals")),
        sa.UniqueConstraint("role", "name", name=op.f("uq_principals_role_name")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_principals_token_hash")),
    )
    op.create_table(
        "purposes",
        sa.Column("purpose", sa.String(length=64), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("log_index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(
            ["log_index"], ["log_entries.log_index"], name=op.f("fk_purposes_log_index_log_entries")
        ),
        sa.PrimaryKeyConstraint("purpose", name=op.f("pk_purposes")),
    )
    op.create_table(
        "releases",
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("model_after", sa.String(length=64), nullable=False),
        sa.Column("coordinator", sa.String(length=64), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("log_index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(
            ["log_index"], ["log_entries.log_index"], name=op.f("fk_releases_log_index_log_entries")
        ),
        sa.PrimaryKeyConstraint("run_id", "round", name=op.f("pk_releases")),
    )
    op.create_table(
        "states",
        sa.Column("brand", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("scope", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("act", sa.String(length=8), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("log_index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(
            ["log_index"], ["log_entries.log_index"], name=op.f("fk_states_log_index_log_entries")
        ),
        sa.PrimaryKeyConstraint("brand", "kind", "scope", "subject", name=op.f("pk_states")),
    )
    with op.batch_alter_table("states", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_states_brand_subject"), ["brand", "subject"], unique=False)

    op.create_table(
        "ceilings",
        sa.Column("brand", sa.String(length=64), nullable=False),
        sa.Column("purpose", sa.String(length=64), nullable=False),
        sa.Column("epsilon", sa.Double(), nullable=False),
        sa.Column("delta", sa.Double(), nullable=False),
        sa.Column("log_index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(
            ["log_index"], ["log_entries.log_index"], name=op.f("fk_ceilings_log_index_log_entries")
        ),
        sa.ForeignKeyConstraint(["purpose"], ["purposes.purpose"], name=op.f("fk_ceilings_purpose_purposes")),
        sa.PrimaryKeyConstraint("brand", "purpose", name=op.f("pk_ceilings")),
    )
    op.create_table(
        "cohorts",
        sa.Column("brand", sa.String(length=64), nullable=False),
        sa.Column("purpose", sa.String(length=64), nullable=False),
        sa.Column("changed_index", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["purpose"], ["purposes.purpose"], name=op.f("fk_cohorts_purpose_purposes")),
        sa.PrimaryKeyConstraint("brand", "purpose", name=op.f("pk_cohorts")),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("principal_id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("request", sa.String(length=64), nullable=False),
        sa.Column("response", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["principal_id"], ["principals.id"], name=op.f("fk_idempotency_keys_principal_id_principals")
        ),
        sa.PrimaryKeyConstraint("principal_id", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_table(
        "notices",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("purpose", sa.String(length=64), nullable=False),
        sa.Column("language", sa.String(length=5), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("log_index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(
            ["log_index"], ["log_entries.log_index"], name=op.f("fk_notices_log_index_log_entries")
        ),
        sa.ForeignKeyConstraint(["purpose"], ["purposes.purpose"], name=op.f("fk_notices_purpose_purposes")),
        sa.PrimaryKeyConstraint("digest", "purpose", name=op.f("pk_notices")),
    )
    op.create_table(
        "snapshots",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("brand", sa.String(length=64), nullable=False),
        sa.Column("purpose", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("members", sa.Integer(), nullable=False),
        sa.Column("log_size", sa.BigInteger(), nullable=False),
        sa.Column("not_after", sa.DateTime(timezone=True), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("log_index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(
            ["log_index"], ["log_entries.log_index"], name=op.f("fk_snapshots_log_index_log_entries")
        ),
        sa.ForeignKeyConstraint(["purpose"], ["purposes.purpose"], name=op.f("fk_snapshots_purpose_purposes")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_snapshots")),
        sa.UniqueConstraint("digest", name=op.f("uq_snapshots_digest")),
    )
    with op.batch_alter_table("snapshots", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_snapshots_brand_purpose_log_index"),
            ["brand", "purpose", "log_index"],
            unique=False,
        )

    op.create_table(
        "tasks",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("purpose", sa.String(length=64), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("log_index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(
            ["log_index"], ["log_entries.log_index"], name=op.f("fk_tasks_log_index_log_entries")
        ),
        sa.ForeignKeyConstraint(["purpose"], ["purposes.purpose"], name=op.f("fk_tasks_purpose_purposes")),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_tasks")),
    )
    op.create_table(
        "approvals",
        sa.Column("task", sa.String(length=64), nullable=False),
        sa.Column("brand", sa.String(length=64), nullable=False),
        sa.Column("log_index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(
            ["log_index"], ["log_entries.log_index"], name=op.f("fk_approvals_log_index_log_entries")
        ),
        sa.ForeignKeyConstraint(["task"], ["tasks.digest"], name=op.f("fk_approvals_task_tasks")),
        sa.PrimaryKeyConstraint("task", "brand", name=op.f("pk_approvals")),
    )
    op.create_table(
        "rounds",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("purpose", sa.String(length=64), nullable=False),
        sa.Column("task", sa.String(length=64), nullable=False),
        sa.Column("coordinator", sa.String(length=64), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("log_index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(
            ["log_index"], ["log_entries.log_index"], name=op.f("fk_rounds_log_index_log_entries")
        ),
        sa.ForeignKeyConstraint(["purpose"], ["purposes.purpose"], name=op.f("fk_rounds_purpose_purposes")),
        sa.ForeignKeyConstraint(["task"], ["tasks.digest"], name=op.f("fk_rounds_task_tasks")),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_rounds")),
        sa.UniqueConstraint("run_id", "round", "attempt", name=op.f("uq_rounds_run_id_round_attempt")),
    )
    op.create_table(
        "round_snapshots",
        sa.Column("manifest", sa.String(length=64), nullable=False),
        sa.Column("brand", sa.String(length=64), nullable=False),
        sa.Column("snapshot_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["manifest"], ["rounds.digest"], name=op.f("fk_round_snapshots_manifest_rounds")),
        sa.ForeignKeyConstraint(
            ["snapshot_id"], ["snapshots.id"], name=op.f("fk_round_snapshots_snapshot_id_snapshots")
        ),
        sa.PrimaryKeyConstraint("manifest", "brand", name=op.f("pk_round_snapshots")),
    )
    with op.batch_alter_table("round_snapshots", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_round_snapshots_brand"), ["brand"], unique=False)

    op.create_table(
        "spends",
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("brand", sa.String(length=64), nullable=False),
        sa.Column("purpose", sa.String(length=64), nullable=False),
        sa.Column("noise_multiplier", sa.Double(), nullable=False),
        sa.Column("delta", sa.Double(), nullable=False),
        sa.Column("committed", sa.Boolean(), nullable=False),
        sa.Column("manifest", sa.String(length=64), nullable=True),
        sa.Column("log_index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(
            ["log_index"], ["log_entries.log_index"], name=op.f("fk_spends_log_index_log_entries")
        ),
        sa.ForeignKeyConstraint(["manifest"], ["rounds.digest"], name=op.f("fk_spends_manifest_rounds")),
        sa.ForeignKeyConstraint(["purpose"], ["purposes.purpose"], name=op.f("fk_spends_purpose_purposes")),
        sa.PrimaryKeyConstraint("run_id", "round", "brand", name=op.f("pk_spends")),
    )
    with op.batch_alter_table("spends", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_spends_brand_purpose"), ["brand", "purpose"], unique=False)
