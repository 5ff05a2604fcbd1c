"""Databases of earlier releases, to be upgraded."""

from typing import Any

from alembic import command
from sqlalchemy import Connection, text

from consent.store.database import _alembic_config


def upgrade_to(connection: Connection, revision: str) -> None:
    """Bring an empty database to the schema of an earlier release."""
    config = _alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def insert(connection: Connection, table: str, **row: Any) -> None:
    """Insert a row as that release did, which knew nothing of today's models."""
    columns, values = ", ".join(row), ", ".join(f":{column}" for column in row)
    connection.execute(text(f"INSERT INTO {table} ({columns}) VALUES ({values})"), row)  # noqa: S608
