"""The database's driver itself, inside a session's transaction: what lies above it can cost more than it does."""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, cast

from sqlalchemy.engine import Dialect
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.orm import Session

from consent.store.schema import UtcTime


class Driver:
    """Runs statements that are written for PostgreSQL, with `%s` where a value goes.

    Args:
        session: the session whose transaction they run in; what it has not flushed is not seen.
    """

    def __init__(self, session: Session) -> None:
        connection = session.connection()
        self._dialect = connection.dialect
        self._sqlite = connection.dialect.name == "sqlite"
        self._cursor = connection.connection.cursor()

    def execute(self, statement: str, values: Sequence[object] = ()) -> DBAPICursor:
        """Run a statement."""
        self._cursor.execute(self._spelled(statement), values)
        return self._cursor

    def executemany(self, statement: str, rows: Sequence[Sequence[object]]) -> None:
        """Run it for every row."""
        self._cursor.executemany(self._spelled(statement), rows)

    def moment(self, value: object) -> datetime:
        """Return a time that the driver gave, in UTC."""
        return _moments(self._dialect)(value)

    def _spelled(self, statement: str) -> str:
        return statement.replace("%s", "?").removesuffix(" FOR UPDATE") if self._sqlite else statement


def places(count: int) -> str:
    """Return the places of so many values, for `IN`."""
    return ", ".join(["%s"] * count)


@lru_cache(maxsize=64)
def _moments(dialect: Dialect) -> Callable[[Any], datetime]:
    read = UtcTime().dialect_impl(dialect).result_processor(dialect, None)
    return cast(Callable[[Any], datetime], read)
