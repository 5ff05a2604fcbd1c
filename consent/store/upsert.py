"""Insert-or-update in bulk, as SQLite and PostgreSQL both spell it."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import inspect
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from consent.store.schema import Base


def upsert(session: Session, table: type[Base], rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows; those whose primary key exists take all other values of the row given."""
    if not rows:
        return
    keys = [column.name for column in inspect(table).primary_key]
    kept = [name for name in rows[0] if name not in keys]
    insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    statement = insert(table)
    session.execute(
        statement.on_conflict_do_update(
            index_elements=keys, set_={name: statement.excluded[name] for name in kept}
        ),
        list(rows),
    )
