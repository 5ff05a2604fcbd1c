"""Let the database itself refuse changes to what is logged; erasure alone may take openings away."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

CHANGED = (
    "NEW.log_index <> OLD.log_index OR NEW.entry <> OLD.entry "
    "OR NEW.salt IS NOT NULL OR NEW.payload IS NOT NULL OR NEW.key_id IS NOT NULL"
)
SHRUNK = "NEW.size < OLD.size"
GUARDS = (
    ("log_entries", "DELETE", None),
    ("log_entries", "UPDATE", CHANGED),
    ("log_head", "DELETE", None),
    ("log_head", "UPDATE", SHRUNK),
)
REFUSAL = "The log is append-only."


def upgrade() -> None:
    """Apply."""
    if op.get_bind().dialect.name == "sqlite":
        for table, act, condition in GUARDS:
            when = f"WHEN {condition} " if condition else ""
            op.execute(
                f"CREATE TRIGGER {_name(table, act)} BEFORE {act} ON {table} {when}"
                f"BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION refuse_log_change() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{REFUSAL}'; END $$"
    )
    for table, act, condition in GUARDS:
        when = f"WHEN ({condition}) " if condition else ""
        op.execute(
            f"CREATE TRIGGER {_name(table, act)} BEFORE {act} ON {table} FOR EACH ROW {when}"
            f"EXECUTE FUNCTION refuse_log_change()"
        )
    for table in ("log_entries", "log_head"):
        op.execute(
            f"CREATE TRIGGER {_name(table, 'TRUNCATE')} BEFORE TRUNCATE ON {table} "
            f"EXECUTE FUNCTION refuse_log_change()"
        )


def _name(table: str, act: str) -> str:
    return f"{table}_refuse_{act.lower()}"
