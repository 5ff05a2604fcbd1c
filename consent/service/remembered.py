"""Callers whose tokens were looked up a moment ago, so that not every request asks the database who it is.

A token that ends is let in for that moment more where another process ended it; where this one did, it is not.
"""

import threading
from datetime import datetime, timedelta

from consent.service.principals import token_hash
from consent.service.work import Caller

MOMENT = timedelta(seconds=1)
MOST = 10_000


class Remembered:
    """Callers by the hashes of their tokens, each for a moment of the service's clock."""

    def __init__(self) -> None:
        self._callers: dict[str, tuple[datetime, Caller]] = {}
        self._lock = threading.Lock()
        self.generation = 0
        """How often everything was forgotten."""

    def get(self, token: str, now: datetime) -> Caller | None:
        """Return who was found to hold a token a moment ago."""
        found = self._callers.get(token_hash(token))
        if found is None or not timedelta(0) <= now - found[0] < MOMENT:
            return None
        return found[1]

    def put(self, token: str, caller: Caller, now: datetime, generation: int) -> None:
        """Remember a caller who was looked up at `now`, unless all were forgotten since `generation`."""
        with self._lock:
            if generation == self.generation:
                if len(self._callers) >= MOST:
                    self._callers.clear()
                self._callers[token_hash(token)] = (now, caller)

    def forget(self) -> None:
        """Forget everybody: somebody was given a token, or lost one."""
        with self._lock:
            self.generation += 1
            self._callers.clear()
