"""Many rows at once, past the unit of work: plain inserts, and insert-or-update on both databases."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from sqlalchemy import Table, insert
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from consent.store.schema import Base

Rows = Sequence[Mapping[str, Any]]


def insert_all(session: Session, kind: type[Base], rows: Rows) -> None:
    """Insert rows."""
    if rows:
        session.connection().execute(insert(_table(kind)), rows)


def upsert_all(session: Session, kind: type[Base], rows: Rows) -> None:
    """Insert rows; those whose primary key exists take all other values of the row given."""
    if not rows:
        return
    table = _table(kind)
    keys = [column.name for column in table.primary_key]
    kept = [name for name in rows[0] if name not in keys]
    dialect = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    statement = dialect.insert(table)
    session.connection().execute(
        statement.on_conflict_do_update(
            index_elements=keys, set_={name: statement.excluded[name] for name in kept}
        ),
        rows,
    )


def _table(kind: type[Base]) -> Table:
    return cast(Table, kind.__table__)
