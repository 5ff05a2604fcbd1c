"""Beside the requests, at the start and then every hour: what has ended is deleted, remedies are opened."""

import threading

from sqlalchemy.exc import SQLAlchemyError

from consent.errors import ConsentError
from consent.service import kept_requests, remedies
from consent.service.logbook import logbook
from consent.service.work import Workplace

INTERVAL = 3_600
"""Seconds between looks; what is kept ends by the day."""


class Tidying:
    """Tidies until it is closed; several processes may, for what is deleted twice is deleted.

    Args:
        work: the service's parts, over all brands.
        days: for how many days a request is known by its idempotency key.
    """

    def __init__(self, work: Workplace, *, days: int) -> None:
        self._work = work
        self._days = days
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._forever, name="tidying", daemon=True)

    def start(self) -> None:
        """Tidy from now on, in a thread of its own."""
        self._thread.start()

    def close(self) -> None:
        """Stop; what is left is deleted by who comes next."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join()

    def tidy(self) -> None:
        """Delete what has ended, and look at withdrawals."""
        try:
            while not self._ending.is_set() and kept_requests.forget(self._work, self._days):
                pass
            remedies.catch_up(self._work, None)
        except (ConsentError, SQLAlchemyError) as error:
            logbook().error("tidying_failed", fault=type(error).__name__)

    def _forever(self) -> None:
        while not self._ending.is_set():
            self.tidy()
            self._ending.wait(INTERVAL)
