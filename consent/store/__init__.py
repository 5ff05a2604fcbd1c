"""Where permissions lie: the typed schema, its migrations and the database, SQLite or PostgreSQL."""

from consent.store import answers, brands, callers, customers, mappings, remedies, rounds
from consent.store.database import Database

__all__ = ["Database", "answers", "brands", "callers", "customers", "mappings", "remedies", "rounds"]
