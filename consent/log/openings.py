"""Openings beside the tiles, for the officer's verifier: `openings/<segment>.ndjson`, never served.

A segment holds the openings of 4096 entries: those about a customer sealed under a key that stays with the
service, those of erased entries as a line that says so.
"""

import os
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from consent.errors import LogError
from consent.files import write_atomically
from consent.log.commitments import AnyOpening, parse_opening

FOLDER = "openings"
SEGMENT_ENTRIES = 4096


def segment_path(index: int) -> str:
    """Return the path of the segment that opens entry `index`."""
    return f"{FOLDER}/{index // SEGMENT_ENTRIES:06d}.ndjson"


def segment_start(path: str) -> int:
    """Return the first entry of the segment at `path`."""
    return int(Path(path).stem) * SEGMENT_ENTRIES


class OpeningsFolder:
    """Appends openings in order; what a crash left ahead of the checkpoint is cut off on `resume`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def resume(self, size: int) -> None:
        """Take away what is beyond the openings of the first `size` entries."""
        for path in (self._folder / FOLDER).glob("*.ndjson"):
            start = segment_start(path.name)
            if start >= size:
                path.unlink()
            elif start + SEGMENT_ENTRIES >= size:
                _cut(path, size)

    def append(self, openings: Sequence[AnyOpening]) -> None:
        """Append openings, in order of index, and make them durable."""
        for name, group in groupby(openings, key=lambda opening: segment_path(opening.index)):
            path = self._folder / name
            path.parent.mkdir(mode=0o700, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(descriptor, "ab") as stream:
                stream.write(b"".join(opening.line() + b"\n" for opening in group))
                stream.flush()
                os.fsync(stream.fileno())

    def rewrite(self, name: str, openings: Sequence[AnyOpening]) -> None:
        """Replace a segment whole; one that was never written stays away."""
        path = self._folder / name
        if path.exists():
            write_atomically(path, b"".join(opening.line() + b"\n" for opening in openings))
            path.chmod(0o600)


def _cut(path: Path, size: int) -> None:
    """Cut a segment back to what opens the first `size` entries, in whole lines."""
    complete = path.read_bytes().rpartition(b"\n")[0]
    lines = complete.split(b"\n") if complete else []
    while lines and _is_beyond(lines[-1], size):
        lines.pop()
    os.truncate(path, sum(len(line) + 1 for line in lines))


def _is_beyond(line: bytes, size: int) -> bool:
    try:
        return parse_opening(line).index >= size
    except LogError:
        return False
