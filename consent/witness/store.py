"""What a witness remembers: the last head that it cosigned, per log."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from consent.errors import BusyError, SetupError
from consent.log.merkle import EMPTY_ROOT
from consent.log.note import Checkpoint, Note

LOCK_SECONDS = 2.0
"""How long to wait for another worker; a log gives up after five seconds."""


class WitnessStore:
    """Heads in a SQLite file; looking at the last one and replacing it is one transaction.

    Args:
        path: the file.
        wait: seconds to wait for another worker's transaction.

    Raises:
        SetupError: there is no such file.
    """

    def __init__(self, path: Path, *, wait: float = LOCK_SECONDS) -> None:
        if not path.is_file():
            raise SetupError(f"There is no state at {path}; run `confide witness init` to create it.")
        self._path = path
        self._wait = wait

    @classmethod
    def create(cls, path: Path) -> "WitnessStore":
        """Create the state unless it is there, and open it."""
        with closing(sqlite3.connect(path, timeout=LOCK_SECONDS)) as connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS heads (origin TEXT PRIMARY KEY, note TEXT NOT NULL) STRICT"
            )
        return cls(path)

    def note(self, origin: str) -> str | None:
        """Return the last cosigned note of a log, None when there is none; raises as `replace` does."""
        with telling_when_busy(), closing(self._connect()) as connection:
            row = connection.execute("SELECT note FROM heads WHERE origin = ?", (origin,)).fetchone()
        return None if row is None else str(row[0])

    def replace(self, origin: str, decide: Callable[[Checkpoint], Note]) -> Note:
        """Let `decide` look at the last head, keep the note that it returns, and return it.

        What `decide` raises leaves everything as it was. The note is durable before this returns, and no
        other request can come between (C2SP tlog-witness, the race of N and N+K).

        Raises:
            BusyError: another worker holds the file, or it can not be written now; nothing was changed.
        """
        with telling_when_busy(), closing(self._connect()) as connection:
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
        connection = sqlite3.connect(self._path, timeout=self._wait, isolation_level=None)
        connection.execute("PRAGMA synchronous = FULL")
        return connection


@contextmanager
def telling_when_busy() -> Iterator[None]:
    """Turn what SQLite can not do at the moment, waiting for a lock or writing, into an error of ours."""
    try:
        yield
    except sqlite3.OperationalError:
        raise BusyError("The witness's state is in use or can not be written; repeat the request.") from None
