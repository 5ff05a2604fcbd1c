"""Exporting a log as lines of JSON: the head, then every entry with its proof and what opens it.

What a folder does not hold is not exported: a public mirror has no openings, an officer's copy has those about
customers sealed under keys that stay with the service, and erased ones as a line that says so.
"""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from consent.errors import LogError, SetupError
from consent.files import replacing_privately
from consent.log.commitments import AnyOpening, ErasedOpening, Opening, parse_opening
from consent.log.erasures import erased_by
from consent.log.note import Note
from consent.log.openings import SEGMENT_ENTRIES, segment_path
from consent.log.proof import TileTree
from consent.log.publisher import CHECKPOINT
from consent.log.remote import FolderSource, LiveFolder, Source


def write_export(folder: Path, out: Path) -> int:
    """Write an export whole or not at all, for its owner alone; return how many entries it holds.

    Raises:
        OSError: the file can not be written.
        ConsentError: as `export` says.
    """
    count = -1
    with replacing_privately(out) as stream:
        for line in export(folder):
            stream.write(line.encode())
            count += 1
    return count


def export(folder: Path) -> Iterator[str]:
    """Yield the lines of an export, each with its newline; all proofs are for the head in the first.

    Raises:
        SetupError: the folder holds no checkpoint.
        NoteFormatError: its checkpoint is malformed.
        TileMissingError: a tile is not there.
        LogError: an opening is malformed, or an erasure took some away after the head was read.
    """
    source = FolderSource(folder)
    raw = source.read(CHECKPOINT)
    if raw is None:
        raise SetupError(f"There is no checkpoint in {folder}; give the folder that holds one.")
    note = raw.decode()
    tree = TileTree(source, Note.parse(note).checkpoint.size)
    erased = accounted = 0
    yield _line({"checkpoint": note})
    for start in range(0, tree.size, SEGMENT_ENTRIES):
        openings = _openings(source, start)
        for index in range(start, min(start + SEGMENT_ENTRIES, tree.size)):
            opening = openings.get(index)
            erased += isinstance(opening, ErasedOpening)
            accounted += erased_by(opening.line()) if isinstance(opening, Opening) else 0
            yield _line(
                {
                    "index": index,
                    "entry": _text(tree.entry(index)),
                    "proof": [_text(node) for node in tree.inclusion(index)],
                    "opening": None if opening is None else json.loads(opening.line()),
                }
            )
    if erased > accounted and LiveFolder(folder).read(CHECKPOINT) != raw:
        raise LogError("A customer was erased while the log was exported; export it again.")


def _openings(source: Source, start: int) -> dict[int, AnyOpening]:
    raw = source.read(segment_path(start))
    lines = raw.split(b"\n")[:-1] if raw else []
    try:
        return {opening.index: opening for opening in map(parse_opening, lines)}
    except LogError as error:
        raise LogError(f"{segment_path(start)}: {error}") from None


def _line(fields: dict[str, Any]) -> str:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")) + "\n"


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
