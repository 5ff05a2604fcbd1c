"""The database's driver itself, inside a session's transaction: what lies above it can cost more than it does."""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, cast

from sqlalchemy import Connection
from sqlalchemy.engine import Dialect
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.orm import Session

from consent.store.schema import UtcTime

Transaction = Session | Connection
"""What holds an open transaction."""


class Driver:
    """Runs statements that are written for PostgreSQL, with `%s` where a value goes.

    Args:
        transaction: in which they run; what a session has not flushed is not seen.
    """

    def __init__(self, transaction: Transaction) -> None:
        connection = connection_of(transaction)
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
        return _for_sqlite(statement) if self._sqlite else statement


def connection_of(transaction: Transaction) -> Connection:
    """Return the connection that a transaction is open on."""
    return transaction if isinstance(transaction, Connection) else transaction.connection()


def places(count: int) -> str:
    """Return the places of so many values, for `IN`."""
    return ", ".join(["%s"] * count)


@lru_cache(maxsize=256)
def _for_sqlite(statement: str) -> str:
    return statement.replace("%s", "?").removesuffix(" FOR UPDATE")


@lru_cache(maxsize=64)
def _moments(dialect: Dialect) -> Callable[[Any], datetime]:
    read = UtcTime().dialect_impl(dialect).result_processor(dialect, None)
    return cast(Callable[[Any], datetime], read)
