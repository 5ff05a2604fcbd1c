"""How often one log may submit heads: a token bucket per origin that all workers share.

The buckets lie in a SQLite file of their own, so that counting waits for no cosignature; losing it to a power cut
refills them, and nothing else.
"""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from consent.errors import RateLimitedError
from consent.rates import Rate
from consent.witness.store import telling_when_busy


class RateLimit:
    """Lets `burst` submissions of a log pass at once, and `per_second` of them over time.

    Args:
        path: the SQLite file; it is created.
        per_second: submissions that are taken over time.
        burst: submissions that are taken at once.
        wait: seconds to wait for another worker's transaction.
        now: POSIX time.
    """

    def __init__(
        self, path: Path, *, per_second: float, burst: int, wait: float, now: Callable[[], float]
    ) -> None:
        self._path = path
        self._rate = Rate(per_second, burst)
        self._wait = wait
        self._now = now
        with telling_when_busy(), closing(self._connect()) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS buckets (origin TEXT PRIMARY KEY, full_at REAL NOT NULL) STRICT"
            )

    def admit(self, origin: str) -> None:
        """Count a submission.

        Raises:
            RateLimitedError: there were too many; the error carries after how many seconds one more passes.
            BusyError: another worker holds the file.
        """
        now = self._now()
        with telling_when_busy(), closing(self._connect()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            row = connection.execute("SELECT full_at FROM buckets WHERE origin = ?", (origin,)).fetchone()
            # A clock that was set back must not keep a log out for longer than an empty bucket does.
            full_at, seconds = self._rate.take(min(row[0], now + self._rate.depth) if row else now, now)
            connection.execute(
                "INSERT INTO buckets VALUES (?, ?) ON CONFLICT (origin) DO UPDATE SET full_at = excluded.full_at",
                (origin, full_at),
            )
            connection.execute("COMMIT")
        if seconds:
            raise RateLimitedError(
                f"Too many heads of this log were submitted; come back in {seconds} seconds.", retry_after=seconds
            )

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=self._wait, isolation_level=None)
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection
