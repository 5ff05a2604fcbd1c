"""Publishing beside the requests: what was committed is under a signed head a moment later."""

import threading
from collections.abc import Callable

from consent.log.publisher import Publisher

LONGEST_RETRY = 5.0
"""Seconds between attempts, however often publishing failed."""
MOST_DOUBLINGS = 16


class BackgroundPublisher:
    """Publishes within a fixed time after an append, everything appended meanwhile at once.

    A failure turns `healthy` false and is tried again until it succeeds: what is in the database is never
    given up. The thread starts with the first append; `close` ends it and publishes what is left.

    Args:
        publisher: what does it; started.
        interval: seconds that an entry may wait for others; 0 publishes before `appended` returns.
        on_failure: told of every attempt that failed.
    """

    def __init__(self, publisher: Publisher, *, interval: float, on_failure: Callable[[Exception], None]) -> None:
        self._publisher = publisher
        self._interval = interval
        self._on_failure = on_failure
        self._wake = threading.Condition()
        self._pending = False
        self._closing = False
        self._failures = 0
        self._thread: threading.Thread | None = None

    @property
    def healthy(self) -> bool:
        """Whether the last attempt succeeded."""
        return self._failures == 0

    def appended(self) -> None:
        """Have published what was just committed; never raises, for the commit stands."""
        with self._wake:
            self._pending = True
            if self._interval and not self._closing:
                self._start()
                self._wake.notify_all()
                return
        self._attempt()

    def flush(self) -> None:
        """Publish everything that is committed now, before returning.

        Raises:
            LogInconsistentError: database and published log do not tell one history.
            OSError: the folder can not be written.
        """
        self._pending = False
        try:
            self._publisher.publish()
        except Exception:
            self._pending = True
            self._failures = min(self._failures + 1, MOST_DOUBLINGS)
            raise
        self._failures = 0

    def close(self) -> None:
        """End the thread and publish what is left; a failure is told, not raised."""
        with self._wake:
            self._closing = True
            self._wake.notify_all()
        if self._thread is not None:
            self._thread.join()
        if self._pending:
            self._attempt()

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="log-publisher", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while self._due():
            self._attempt()

    def _due(self) -> bool:
        """Wait for an append, then for those that come with it; False once closing."""
        with self._wake:
            self._wake.wait_for(lambda: self._pending or self._closing)
            pause = min(self._interval * 2**self._failures, max(LONGEST_RETRY, self._interval))
            return not self._wake.wait_for(lambda: self._closing, timeout=pause)

    def _attempt(self) -> None:
        try:
            self.flush()
        except Exception as error:
            self._on_failure(error)
