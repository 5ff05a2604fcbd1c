"""The lock of a published folder: one process publishes at a time, and who reads it whole waits for that."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = ".publish.lock"
"""Beside the folder, so that it is never published."""


@contextmanager
def publishing_alone(folder: Path) -> Iterator[None]:
    """Keep other publishers, and readers of the whole, out."""
    with (folder.parent / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def standing_still(folder: Path) -> Iterator[None]:
    """Hold a folder between two publications; a copy that nobody publishes into has no lock and needs none."""
    try:
        lock = (folder.parent / LOCK).open("rb")
    except OSError:
        yield
        return
    with lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield
