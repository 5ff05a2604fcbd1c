"""PostgreSQL's own wall between brands: row-level security for the role that units of one brand run under.

A handler that forgets to ask for its brand alone then finds nothing of another brand. The policies bind the role
`confide_tenant` only; the login owns the tables, keeps seeing all rows, and takes the role for one unit of work.
"""

from collections.abc import Sequence

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from consent.errors import SetupError

TENANT = "confide_tenant"
OWN_BRAND = "brand = current_setting('confide.brand', true)"
WRITES = ("INSERT", "UPDATE", "DELETE")


def create_role(connection: Connection) -> None:
    """Create the role unless the server has it, and see that this login may take it.

    Raises:
        SetupError: this login may neither create the role nor take it.
    """
    if _may_take_role(connection):
        return
    for statement in (
        f"CREATE ROLE {TENANT} NOLOGIN",
        f"GRANT {TENANT} TO CURRENT_USER",
    ):
        connection.execute(
            text(
                f"DO $$ BEGIN {statement}; "
                f"EXCEPTION WHEN duplicate_object OR unique_violation OR insufficient_privilege THEN NULL; END $$"
            )
        )
    if not _may_take_role(connection):
        raise SetupError(
            f"The database login may not take the role that keeps brands apart; have an administrator run "
            f"`CREATE ROLE {TENANT} NOLOGIN` and `GRANT {TENANT} TO` this login, then start again."
        )


def protect(connection: Connection, table: str, *, rows: str = OWN_BRAND, writes: Sequence[str] = WRITES) -> None:
    """Let a brand see and change the rows of a table that are its own; a table that is not protected is closed."""
    grant(connection, table, writes=writes)
    for statement in (
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
        f"CREATE POLICY tenant ON {table} TO {TENANT} USING ({rows})",
    ):
        connection.execute(text(statement))


def grant(connection: Connection, table: str, *, writes: Sequence[str] = ()) -> None:
    """Open a table that holds nothing of one brand to units of every brand."""
    connection.execute(text(f"GRANT {', '.join(('SELECT', *writes))} ON {table} TO {TENANT}"))


def _may_take_role(connection: Connection) -> bool:
    try:
        with connection.begin_nested():
            connection.execute(text(f"SET LOCAL ROLE {TENANT}"))
            connection.execute(text("SET LOCAL ROLE NONE"))
    except DBAPIError:
        return False
    return True
