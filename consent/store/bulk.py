"""Many rows at once, past the unit of work: plain inserts, and insert-or-update on both databases.

Rows go to the driver as it takes them, for what SQLAlchemy does to each of them costs more than the database.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, cast

from sqlalchemy import Insert, Table, insert
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import Session

from consent.store.driver import Transaction, connection_of
from consent.store.schema import Base

Rows = Sequence[Mapping[str, Any]]
STATEMENTS = 256


class _Prepared(NamedTuple):
    """A statement as the driver takes it."""

    text: str
    columns: tuple[tuple[str, Callable[[Any], Any] | None], ...]
    """In the order of the statement, each with what makes its values the driver's."""
    named: bool
    """Whether the driver takes values by name rather than by place."""


def insert_all(session: Transaction, kind: type[Base], rows: Rows) -> None:
    """Insert rows, all of the same columns."""
    _write(session, kind, rows, updating=False)


def upsert_all(session: Session, kind: type[Base], rows: Rows) -> None:
    """Insert rows; those whose primary key exists take all other values of the row given."""
    _write(session, kind, rows, updating=True)


def _write(session: Transaction, kind: type[Base], rows: Rows, *, updating: bool) -> None:
    if not rows:
        return
    connection = connection_of(session)
    prepared = _prepared(connection.dialect, kind, tuple(rows[0]), updating)
    columns = []
    for name, convert in prepared.columns:
        values = [row[name] for row in rows]
        columns.append(values if convert is None else _converted(values, convert))
    placed = list(zip(*columns, strict=True))
    if prepared.named:
        names = [name for name, _ in prepared.columns]
        connection.exec_driver_sql(prepared.text, [dict(zip(names, values, strict=True)) for values in placed])
    else:
        connection.exec_driver_sql(prepared.text, placed)


def _converted(values: Sequence[Any], convert: Callable[[Any], Any]) -> list[Any]:
    """Convert values of which neighbours are often the same object, as one moment is for a whole batch."""
    converted, last, made = [], values[0], convert(values[0])
    for value in values:
        if value is not last:
            last, made = value, convert(value)
        converted.append(made)
    return converted


@lru_cache(STATEMENTS)
def _prepared(dialect: Dialect, kind: type[Base], names: tuple[str, ...], updating: bool) -> _Prepared:
    table = cast(Table, kind.__table__)
    statement = _upsert(dialect, table, names) if updating else insert(table)
    compiled = statement.compile(dialect=dialect, column_keys=list(names))
    places = compiled.positiontup
    columns = tuple(
        (name, table.c[name].type.dialect_impl(dialect).bind_processor(dialect)) for name in places or names
    )
    return _Prepared(str(compiled), columns, named=places is None)


def _upsert(dialect: Dialect, table: Table, names: Sequence[str]) -> Insert:
    keys = [column.name for column in table.primary_key]
    statement = (sqlite if dialect.name == "sqlite" else postgresql).insert(table)
    changed = {name: statement.excluded[name] for name in names if name not in keys}
    return cast(Insert, statement.on_conflict_do_update(index_elements=keys, set_=changed))
