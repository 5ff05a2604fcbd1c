"""What a witness remembers: the last head that it cosigned, per log."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from consent.errors import SetupError
from consent.log.merkle import EMPTY_ROOT
from consent.log.note import Checkpoint, Note

LOCK_SECONDS = 10.0
NOTHING = ""


class WitnessStore:
    """Heads in a SQLite file; looking at the last one and replacing it is one transaction."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise SetupError(f"There is no state at {path}; run `confide witness init` to create it.")
        self._path = path

    @classmethod
    def create(cls, path: Path) -> "WitnessStore":
        """Create the state unless it is there, and open it."""
        with closing(sqlite3.connect(path, timeout=LOCK_SECONDS)) as connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS heads (origin TEXT PRIMARY KEY, note TEXT NOT NULL) STRICT"
            )
        return cls(path)

    def note(self, origin: str) -> str | None:
        """Return the last cosigned note of a log; None when there is none."""
        with closing(self._connect()) as connection:
            row = connection.execute("SELECT note FROM heads WHERE origin = ?", (origin,)).fetchone()
        return None if row is None else str(row[0])

    def replace(self, origin: str, decide: Callable[[Checkpoint], Note]) -> Note:
        """Let `decide` look at the last head, keep the note that it returns, and return it.

        What `decide` raises leaves everything as it was. The note is durable before this returns, and no
        other request can come between (C2SP tlog-witness, the race of N and N+K).
        """
        with closing(self._connect()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            row = connection.execute("SELECT note FROM heads WHERE origin = ?", (origin,)).fetchone()
            last = Checkpoint(origin, 0, EMPTY_ROOT) if row is None else Note.parse(row[0]).checkpoint
            note = decide(last)
            connection.execute(
                "INSERT INTO heads VALUES (?, ?) ON CONFLICT (origin) DO UPDATE SET note = excluded.note",
                (origin, note.encode()),
            )
            connection.execute("COMMIT")
        return note

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=LOCK_SECONDS, isolation_level=None)
        connection.execute("PRAGMA synchronous = FULL")
        return connection
