"""Whether the service can do its work now, part by part; a part that can not is named and turns it red."""

import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from consent.errors import ConsentError
from consent.log.note import Note
from consent.log.publisher import CHECKPOINT
from consent.log.store import read_head
from consent.service.work import Workplace
from consent.store import Database

Seconds = Callable[[], float]
PATIENCE = 30.0
"""Seconds that an entry may wait for a published head before publishing counts as stuck."""


class State(StrEnum):
    """How a part is."""

    OK = "ok"
    UNREACHABLE = "unreachable"
    READ_ONLY = "read_only"
    STUCK = "stuck"
    NEARLY_FULL = "nearly_full"


class Readiness(BaseModel):
    """Whether requests should be sent here, and the state of each part."""

    model_config = ConfigDict(frozen=True)

    ready: bool
    parts: dict[str, State]


class PublishedHead(NamedTuple):
    """The checkpoint as it lies in the folder, whichever process wrote it: its size, and when it was written."""

    size: int
    written_at: float


def published_head(folder: Path) -> PublishedHead:
    """Read the published head.

    Raises:
        OSError: there is none, or it can not be read.
        NoteFormatError: it is not a checkpoint.
    """
    path = folder / CHECKPOINT
    return PublishedHead(Note.parse(path.read_text()).checkpoint.size, path.stat().st_mtime)


class Watch:
    """Judges the parts of a workplace.

    Args:
        work: the service's parts.
        min_free_bytes: with less space on the log's disk it counts as nearly full.
        seconds: a monotonic clock.
    """

    def __init__(self, work: Workplace, *, min_free_bytes: int, seconds: Seconds = time.monotonic) -> None:
        self._work = work
        self._min_free_bytes = min_free_bytes
        self._seconds = seconds
        self._lock = threading.Lock()
        self._behind: tuple[int, float] | None = None

    def readiness(self) -> Readiness:
        """Look at every part now."""
        folder = self._work.publisher.folder
        parts = {
            "database": state_of(self._work.database),
            "log_folder": _folder(folder),
            "publishing": self._publishing(),
            "disk": _disk(folder, self._min_free_bytes),
        }
        return Readiness(ready=set(parts.values()) == {State.OK}, parts=parts)

    def _publishing(self) -> State:
        if not self._work.healthy:
            return State.STUCK
        try:
            with self._work.reading() as unit:
                size = read_head(unit.session).size
            published = published_head(self._work.publisher.folder).size
        except (ConsentError, OSError, SQLAlchemyError):
            return State.STUCK
        return State.STUCK if self._waits_too_long(published, behind=published < size) else State.OK

    def _waits_too_long(self, published: int, *, behind: bool) -> bool:
        """Tell whether the published head has been behind, at the same size, for longer than an entry may wait."""
        now = self._seconds()
        with self._lock:
            if not behind:
                self._behind = None
            elif self._behind is None or self._behind[0] != published:
                self._behind = published, now
            return self._behind is not None and now - self._behind[1] > PATIENCE


def state_of(database: Database) -> State:
    """Tell whether a database can be read and written."""
    try:
        with database.engine.connect() as connection:
            if database.engine.dialect.name == "postgresql":
                replica = connection.scalar(text("SELECT current_setting('transaction_read_only')"))
                return State.READ_ONLY if replica == "on" else State.OK
            connection.execute(text("SELECT size FROM log_head"))
    except SQLAlchemyError:
        return State.UNREACHABLE
    file = database.engine.url.database
    return _folder(Path(file).parent) if file else State.OK


def _folder(folder: Path) -> State:
    """Try to write a file that never gets a name where the system knows such files."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"ready")
            file.flush()
    except FileNotFoundError:
        return State.UNREACHABLE
    except OSError:
        return State.READ_ONLY
    return State.OK


def _disk(folder: Path, min_free_bytes: int) -> State:
    try:
        return State.OK if shutil.disk_usage(folder).free >= min_free_bytes else State.NEARLY_FULL
    except OSError:
        return State.UNREACHABLE
