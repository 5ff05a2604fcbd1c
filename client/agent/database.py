"""The agent's own SQLite file: its ledger, and the secrets of its runs, readable by its owner alone."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event

COMPANIONS = ("", "-wal", "-shm")
"""What SQLite keeps beside the file, with its permissions."""


def open_database(path: Path) -> Engine:
    """Open the file with write-ahead logging, full durability, and the write lock at every BEGIN.

    What is deleted is overwritten, so that a secret does not outlive its row.
    """
    path.touch(mode=0o600)
    for name in COMPANIONS:
        companion = path.with_name(path.name + name)
        if companion.exists():
            companion.chmod(0o600)
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 30})

    @event.listens_for(engine, "connect")
    def _durable(connection: Any, _record: Any) -> None:  # noqa: ANN401 - the driver's own types
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA secure_delete=ON")

    @event.listens_for(engine, "begin")
    def _lock(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def empty_log(database: Engine) -> None:
    """Move the write-ahead log into the file and cut it off: it may still hold what was deleted."""
    connection = database.raw_connection()
    try:
        connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()


def plain(moment: datetime) -> datetime:
    """Return a moment as the file keeps it: in UTC and without a zone, which SQLite's type would drop."""
    return moment.astimezone(UTC).replace(tzinfo=None)
