"""Callers whose tokens were looked up a moment ago, so that not every request asks the database who it is.

When a token is taken away, every process of this machine forgets whom it remembers, before the caller that took it
away hears of it. What they share for that is a mark in a file. A process on another machine, and one whose
sibling ended between the commit and the mark, lets an ended token in for the rest of the moment.
"""

import os
import secrets
import weakref
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from consent.service.logbook import logbook
from consent.service.principals import token_hash
from consent.service.work import Caller

MOMENT = timedelta(seconds=1)
MOST = 10_000
MARK_BYTES = 16


class _Found(NamedTuple):
    """Who was found to hold a token, when, and which mark stood before they were looked up."""

    caller: Caller
    at: datetime
    mark: bytes


class Mark:
    """Random bytes that all processes of a machine read, and that change when somebody's token is taken away.

    Args:
        path: the file that they share.

    Raises:
        OSError: it can not be opened.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        weakref.finalize(self, os.close, self._descriptor)

    def read(self) -> bytes:
        """Return the bytes as they are now; the file is in memory while it is read all the time."""
        return os.pread(self._descriptor, MARK_BYTES, 0)

    def change(self) -> None:
        """Have all others see other bytes.

        Raises:
            OSError: they can not be written.
        """
        os.pwrite(self._descriptor, secrets.token_bytes(MARK_BYTES), 0)


class Remembered:
    """Callers by the hashes of their tokens, each for a moment of the service's clock, and while a mark stands."""

    def __init__(self, shared: Mark) -> None:
        self._shared = shared
        self._forgotten = 0
        self._callers: dict[str, _Found] = {}

    def mark(self) -> bytes:
        """Return what is other bytes after each `forget`, here or in another process."""
        return b"%d %b" % (self._forgotten, self._shared.read())

    def get(self, token: str, now: datetime) -> Caller | None:
        """Return who was found to hold a token a moment ago."""
        found = self._callers.get(token_hash(token))
        if found is None or not timedelta(0) <= now - found.at < MOMENT or found.mark != self.mark():
            return None
        return found.caller

    def put(self, token: str, caller: Caller, now: datetime, mark: bytes) -> None:
        """Remember a caller who was looked up at `now`, after `mark` was read."""
        if len(self._callers) >= MOST:
            self._callers = {}
        self._callers[token_hash(token)] = _Found(caller, now, mark)

    def forget(self) -> None:
        """Forget everybody, here and in the other processes: somebody was given a token, or lost one."""
        self._forgotten += 1
        self._callers = {}
        try:
            self._shared.change()
        except OSError as error:
            logbook().error("ended_tokens_not_told", fault=type(error).__name__)
