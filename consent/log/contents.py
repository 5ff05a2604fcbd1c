"""Holding what a log published against the root of its checkpoint: entries, tiles, openings, leftovers.

Whole bundles are hashed in one go and tiles compared as bytes; single entries are looked at where those differ.
"""

import hashlib
import re
from collections.abc import Sequence

from consent.errors import LogError
from consent.log.commitments import Opening, SealedOpening, parse_opening
from consent.log.erasures import erased_by, require_accounted
from consent.log.merkle import halve, root_hash
from consent.log.note import Checkpoint
from consent.log.openings import FOLDER as OPENINGS
from consent.log.openings import SEGMENT_ENTRIES, segment_path
from consent.log.publisher import CHECKPOINT
from consent.log.remote import Source
from consent.log.report import Report
from consent.log.tiles import (
    ENTRIES,
    HASH_BYTES,
    TILE_BITS,
    TILE_WIDTH,
    decode_bundle,
    decode_tile,
    encode_bundle,
    layout,
    parse_tile_path,
    tile_path,
    truncate_bundle,
    width_at,
)

SEALED = re.compile(
    rb'\{"index":[0-9]+,"key":(?:0|[1-9][0-9]*),'
    rb'"sealed":"([A-Za-z0-9+/]*(?:[AQgw]==|[AEIMQUYcgkosw048]=)?)"\}'
)
"""The one spelling of a sealed opening; what it holds, only its customer's key can tell."""


class Contents:
    """One pass over a published log; every mismatch goes into the report."""

    def __init__(self, source: Source, checkpoint: Checkpoint, report: Report) -> None:
        self._source = source
        self._names = source.names()
        self._checkpoint = checkpoint
        self._report = report
        self._entries: list[bytes | None] = []
        self._leaves: list[bytes | None] = []
        self._expected: set[str] = set()

    def check(self, earlier: Checkpoint | None) -> None:
        """Check in the order in which trust is built: entries, history, tiles, openings."""
        self._check_entries()
        if earlier is not None and _root(self._leaves[: earlier.size]) != earlier.root:
            self._report.add("history", CHECKPOINT, "the log does not extend the earlier checkpoint")
        self._check_tiles()
        self._check_openings()

    def check_rest(self, known: set[str]) -> None:
        """Name the files that do not belong to a log of this size, where files can be listed.

        A partial tile of an earlier size belongs to it and must be the start of the present one.
        """
        present = _Present(self._source, self._checkpoint.size)
        for name in sorted((self._names or frozenset()) - self._expected - known):
            if not present.extends(name):
                self._report.add("file", name, "it does not belong to a log of this size")
            elif not present.begins_with(name):
                self._report.add("tile", name, "it is not the start of the tile that the log has now")

    def _check_entries(self) -> None:
        """Settle which leaves the checkpoint commits to, then hold the entries against them."""
        size = self._checkpoint.size
        for level, index, width in layout(size):
            if level == 0:
                self._read_bundle(index, width)
        sha256 = hashlib.sha256
        given = [None if entry is None else sha256(b"\x00" + entry).digest() for entry in self._entries]
        self._leaves = given
        if _root(given) == self._checkpoint.root:
            return
        self._report.add("root", CHECKPOINT, "the entries do not lead to the checkpoint's root")
        stated = self._stated_leaves(size)
        if _root(stated) == self._checkpoint.root:
            self._leaves = stated
        for index, (found, expected) in enumerate(zip(given, self._leaves, strict=True)):
            if found is not None and found != expected:
                why = "it is not the entry that the checkpoint commits to"
                self._report.add("entry", self._bundle_of(index), why, entry=index)

    def _stated_leaves(self, size: int) -> list[bytes | None]:
        """Return the leaves as the tiles of level 0 state them."""
        leaves: list[bytes | None] = []
        for level, index, width in layout(size):
            if level == 0:
                raw = read_tile(self._source, 0, index, width) or b""
                leaves += decode_tile(raw) if len(raw) == HASH_BYTES * width else [None] * width
        return leaves

    def _bundle_of(self, entry: int) -> str:
        index = entry // TILE_WIDTH
        return tile_path(ENTRIES, index, min(TILE_WIDTH, len(self._entries) - index * TILE_WIDTH))

    def _read_bundle(self, index: int, width: int) -> None:
        name = tile_path(ENTRIES, index, width)
        raw = self._take(name, "entries", read_tile(self._source, ENTRIES, index, width))
        found: list[bytes] = []
        if raw is not None:
            start = index * TILE_WIDTH
            try:
                found = decode_bundle(raw)
            except LogError as error:
                self._report.add("entries", name, str(error), entry=start)
            else:
                if len(found) != width:
                    why = f"it holds {len(found)} entries instead of {width}"
                    self._report.add("entries", name, why, entry=start + min(len(found), width))
        self._entries += found if len(found) == width else [None] * width

    def _check_tiles(self) -> None:
        hashes: list[bytes | None] = self._leaves
        below = 0
        for level, index, width in layout(self._checkpoint.size):
            if level != below:
                hashes, below = _next_level(hashes), level
            name = tile_path(level, index, width)
            raw = self._take(name, "tile", read_tile(self._source, level, index, width))
            if raw is not None:
                start = index * TILE_WIDTH
                self._compare(name, raw, hashes[start : start + width], start if level == 0 else None)

    def _compare(self, name: str, raw: bytes, hashes: list[bytes | None], first: int | None) -> None:
        known = [node for node in hashes if node is not None]
        if len(known) == len(hashes) and raw == b"".join(known):
            return
        if len(raw) != HASH_BYTES * len(hashes):
            self._report.add("tile", name, f"it holds {len(raw)} bytes instead of {HASH_BYTES * len(hashes)}")
            return
        for offset, expected in enumerate(hashes):
            found = raw[offset * HASH_BYTES : (offset + 1) * HASH_BYTES]
            if expected is not None and found != expected:
                entry = None if first is None else first + offset
                self._report.add("tile", name, "it holds a hash that the entries do not give", entry=entry)

    def _check_openings(self) -> None:
        """Check an officer's copy, which holds every opening; a public mirror holds none at all."""
        size = self._checkpoint.size
        starts = range(0, size, SEGMENT_ENTRIES)
        if self._names is not None and any(segment_path(start) in self._names for start in starts):
            for start in starts:
                name = segment_path(start)
                raw = self._take(name, "openings", self._source.read(name))
                if raw is not None:
                    self._check_segment(name, raw, start, min(start + SEGMENT_ENTRIES, size))
            require_accounted(self._report, OPENINGS)
        self._report.withheld = size - self._report.openings - self._report.sealed - self._report.erased

    def _check_segment(self, name: str, raw: bytes, start: int, end: int) -> None:
        *lines, rest = raw.split(b"\n")
        if rest:
            self._report.add("opening", name, "its last line breaks off")
        expected = start
        for number, line in enumerate(lines, 1):
            index = expected
            entry = self._entries[index] if index < end else None
            if entry is not None and opens_quickly(line, index, entry):
                self._take_opening(line)
                expected += 1
            elif index < end and is_sealed(line, index):
                self._report.sealed += 1
                expected += 1
            else:
                expected = self._check_line(name, number, line, expected, end)
        self._report_gap(name, expected, end)

    def _check_line(self, name: str, number: int, line: bytes, expected: int, end: int) -> int:
        """Check one line that is not simply the next opening; return the index to expect after it."""
        try:
            opening = parse_opening(line)
        except LogError as error:
            self._report.add("opening", name, f"line {number}: {error}")
            return expected
        if not expected <= opening.index < end:
            self._report.add("opening", name, f"line {number} is out of order", entry=opening.index)
            return expected
        self._report_gap(name, expected, opening.index)
        entry = self._entries[opening.index]
        if not isinstance(opening, Opening):
            self._report.sealed += isinstance(opening, SealedOpening)
            self._report.erased += not isinstance(opening, SealedOpening)
        elif entry is None or not opening.opens(entry):
            self._report.add("opening", name, "it is not what the entry commits to", entry=opening.index)
        else:
            self._take_opening(line)
        return opening.index + 1

    def _take_opening(self, line: bytes) -> None:
        self._report.openings += 1
        self._report.accounted += erased_by(line)

    def _report_gap(self, name: str, expected: int, found: int) -> None:
        if found > expected:
            last = f" to {found - 1}" if found > expected + 1 else ""
            why = f"the opening of entry {expected}{last} is missing, while others are there"
            self._report.add("openings", name, why, entry=expected)

    def _take(self, name: str, what: str, raw: bytes | None) -> bytes | None:
        self._expected.add(name)
        if raw is None:
            self._report.add(what, name, "it is missing")
        return raw


class _Present:
    """The tiles of a log of some size, against which partial ones of earlier sizes are held."""

    def __init__(self, source: Source, size: int) -> None:
        self._source = source
        self._size = size
        self._tile: tuple[int | str, int] | None = None
        self._hashes: list[bytes] = []

    def extends(self, name: str) -> bool:
        """Tell whether a name is that of a narrower version of a tile that there is."""
        tile = parse_tile_path(name)
        return tile is not None and tile[2] < width_at(*tile[:2], self._size)

    def begins_with(self, name: str) -> bool:
        """Tell whether such a version holds what the present one begins with, or is gone since it was listed."""
        tile, raw = parse_tile_path(name), self._source.read(name)
        if tile is None or raw is None:
            return raw is None
        level, index, width = tile
        if self._tile != (level, index):
            present = read_tile(self._source, level, index, width_at(level, index, self._size)) or b""
            self._tile, self._hashes = (level, index), _parts(level, present)
        start = self._hashes[:width]
        return len(start) == width and raw == (encode_bundle(start) if level == ENTRIES else b"".join(start))


def read_tile(source: Source, level: int | str, index: int, width: int) -> bytes | None:
    """Return a tile; in place of a partial one that was completed meanwhile, the start of the full one.

    A folder that can be listed must hold the partial tile itself.
    """
    raw = source.read(tile_path(level, index, width))
    if raw is not None or width == TILE_WIDTH or source.names() is not None:
        return raw
    full = source.read(tile_path(level, index))
    if full is None:
        return None
    return truncate_bundle(full, width) if level == ENTRIES else full[: width * HASH_BYTES]


def _parts(level: int | str, raw: bytes) -> list[bytes]:
    """Return what a tile or bundle holds; nothing when it is damaged, which is told elsewhere."""
    try:
        return decode_bundle(raw) if level == ENTRIES else decode_tile(raw)
    except LogError:
        return []


def opens_quickly(line: bytes, index: int, entry: bytes) -> bool:
    """Tell whether a line is the opening of entry `index` in its usual spelling.

    The commitment binds the payload's bytes, so that nothing needs to be parsed. False means: look closer.
    """
    head, tail = b'{"index":%d,"payload":' % index, line[-43:]
    if not line.startswith(head) or tail[:9] != b',"salt":"' or tail[-2:] != b'"}':
        return False
    try:
        salt = bytes.fromhex(tail[9:-2].decode())
    except ValueError:
        return False
    digest = hashlib.sha256(salt + line[len(head) : -43]).digest()
    return entry == b"\x01" + digest and tail[9:-2].decode() == salt.hex()


def is_sealed(line: bytes, index: int) -> bool:
    """Tell whether a line is a sealed opening of entry `index` in its one spelling."""
    match = SEALED.fullmatch(line)
    return match is not None and not len(match[1]) % 4 and line.startswith(b'{"index":%d,' % index)


def _root(leaves: Sequence[bytes | None]) -> bytes | None:
    """Return the root; None when a leaf is not known."""
    known = [leaf for leaf in leaves if leaf is not None]
    return root_hash(known) if len(known) == len(leaves) else None


def _next_level(hashes: list[bytes | None]) -> list[bytes | None]:
    """Return the roots of the full tiles of a level; None where one of its hashes is not known."""
    full = len(hashes) - len(hashes) % TILE_WIDTH
    nodes: list[bytes] = [node for node in hashes[:full] if node is not None]
    if len(nodes) == full:
        for _ in range(TILE_BITS):
            nodes = halve(nodes)
        return list(nodes)
    starts = range(0, full, TILE_WIDTH)
    return [_root(hashes[start : start + TILE_WIDTH]) for start in starts]
