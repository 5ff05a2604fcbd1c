"""Where permissions lie: the typed schema, its migrations and the database, SQLite or PostgreSQL."""

from consent.store import callers, customers
from consent.store.database import Database

__all__ = ["Database", "callers", "customers"]
