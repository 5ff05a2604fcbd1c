"""Proofs from tiles, for exactly one checkpoint, and the file that carries one (C2SP tlog-proof).

A proof is computed against the head that it is handed out with: a log that grows meanwhile can not mix two.
"""

import base64
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self, TypeVar

from consent.errors import NoteFormatError, NotFoundError, ProofError, TileMissingError
from consent.log.contents import read_tile
from consent.log.merkle import EMPTY_ROOT, halve, leaf_hash, node_hash, verify_inclusion
from consent.log.note import ROOT_BYTES, Checkpoint, Note, decode_base64
from consent.log.publisher import CHECKPOINT
from consent.log.remote import Source
from consent.log.tiles import ENTRIES, TILE_BITS, TILE_WIDTH, decode_bundle, decode_tile

HEADER = "c2sp.org/tlog-proof@v1"
INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})")
MAX_PATH = 63
ATTEMPTS = 5

Answer = TypeVar("Answer")


class TileTree:
    """The tree of a published log's first `size` entries; tiles are read as they are needed."""

    def __init__(self, source: Source, size: int) -> None:
        self.size = size
        self._published = size
        self._source = source
        self._tiles: dict[tuple[int, int], list[bytes]] = {}
        self._bundle: tuple[int, list[bytes]] = (-1, [])

    def at(self, size: int) -> "TileTree":
        """Return the tree of the first `size` entries, read from the tiles of this one."""
        past = TileTree(self._source, self._published)
        past.size = size
        return past

    def root(self) -> bytes:
        """Return the root; raises as `node` does."""
        return self._range(0, self.size) if self.size else EMPTY_ROOT

    def inclusion(self, index: int) -> list[bytes]:
        """Return the audit path of an entry, nearest sibling first (RFC 6962, section 2.1.1).

        Raises:
            ProofError: there is no such entry.
            TileMissingError: a tile is not there.
        """
        if not 0 <= index < self.size:
            raise ProofError(f"Entry {index} is not in a log of {self.size} entries.")
        path, low, high = [], 0, self.size
        while high - low > 1:
            middle = low + _split(high - low)
            if index < middle:
                path.append(self._range(middle, high))
                high = middle
            else:
                path.append(self._range(low, middle))
                low = middle
        return path[::-1]

    def consistency(self, old_size: int) -> list[bytes]:
        """Return the proof that the first `old_size` entries are a prefix (RFC 6962, section 2.1.2).

        Raises:
            ProofError: the old size is over the size.
            TileMissingError: a tile is not there.
        """
        if not 0 <= old_size <= self.size:
            raise ProofError(f"A log of {self.size} entries has no past of {old_size} entries.")
        if old_size in (0, self.size):
            return []
        path, low, high = [], 0, self.size
        while old_size != high:
            middle = low + _split(high - low)
            if old_size <= middle:
                path.append(self._range(middle, high))
                high = middle
            else:
                path.append(self._range(low, middle))
                low = middle
        if low:
            path.append(self._range(low, high))
        return path[::-1]

    def entry(self, index: int) -> bytes:
        """Return an entry; raises `TileMissingError` when its bundle is not there or too short."""
        number, offset = divmod(index, TILE_WIDTH)
        if self._bundle[0] != number:
            self._bundle = (number, self._read_bundle(number))
        if offset >= len(self._bundle[1]):
            raise TileMissingError(f"The bundle that holds entry {index} is missing or too short.")
        return self._bundle[1][offset]

    def _read_bundle(self, number: int) -> list[bytes]:
        width = min(TILE_WIDTH, self._published - number * TILE_WIDTH)
        raw = read_tile(self._source, ENTRIES, number, width)
        return decode_bundle(raw) if raw is not None else []

    def _range(self, low: int, high: int) -> bytes:
        count = high - low
        if count & (count - 1) == 0:
            return self._node(count.bit_length() - 1, low // count)
        middle = low + _split(count)
        return node_hash(self._range(low, middle), self._range(middle, high))

    def _node(self, height: int, index: int) -> bytes:
        """Return the root of the perfect subtree of 2^height leaves."""
        level, above = divmod(height, TILE_BITS)
        tile, offset = divmod(index << above, TILE_WIDTH)
        nodes: Sequence[bytes] = self._tile(level, tile)[offset : offset + (1 << above)]
        if len(nodes) != 1 << above:
            raise TileMissingError(f"Tile {tile} of level {level} is too short.")
        for _ in range(above):
            nodes = halve(nodes)
        return nodes[0]

    def _tile(self, level: int, tile: int) -> list[bytes]:
        if (level, tile) not in self._tiles:
            width = min(TILE_WIDTH, (self._published >> (TILE_BITS * level)) - tile * TILE_WIDTH)
            raw = read_tile(self._source, level, tile, width)
            if raw is None:
                raise TileMissingError(f"Tile {tile} of level {level} with {width} hashes is missing.")
            self._tiles[level, tile] = decode_tile(raw)
        return self._tiles[level, tile]


@dataclass(frozen=True)
class EntryProof:
    """That an entry is in the log under a signed head; `entry` travels as the format's extra data."""

    index: int
    path: tuple[bytes, ...]
    note: str
    entry: bytes | None = None

    def encode(self) -> str:
        """Write the file."""
        lines = [HEADER]
        if self.entry is not None:
            lines.append(f"extra {base64.b64encode(self.entry).decode()}")
        lines.append(f"index {self.index}")
        lines += [base64.b64encode(node).decode() for node in self.path]
        return "\n".join(lines) + f"\n\n{self.note}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the file; the note in it is not checked here.

        Raises:
            ProofError: it is not such a file.
        """
        head, blank, note = text.partition("\n\n")
        header, *lines = head.split("\n")
        extra = lines.pop(0)[6:] if lines and lines[0].startswith("extra ") else None
        match = INDEX.fullmatch(lines.pop(0)) if lines else None
        if not blank or header != HEADER or match is None or len(lines) > MAX_PATH:
            raise ProofError("This is not a file of c2sp.org/tlog-proof@v1.")
        try:
            path = tuple(decode_base64(line) for line in lines)
            entry = None if extra is None else decode_base64(extra)
        except NoteFormatError as error:
            raise ProofError(str(error)) from None
        if any(len(node) != ROOT_BYTES for node in path):
            raise ProofError("A hash in the proof is not 32 bytes long.")
        return cls(int(match[1]), path, note, entry)

    def verify(self, checkpoint: Checkpoint, entry: bytes | None = None) -> bytes:
        """Return the entry that the proof shows to be in the tree of a checkpoint that was opened before.

        Args:
            checkpoint: what the proof's note says; its signatures are the caller's to check.
            entry: what must be proven; without it, the entry that travels in the proof.

        Raises:
            ProofError: the proof is for another entry, or does not lead to the root.
        """
        proven = self.entry if entry is None else entry
        if proven is None or (self.entry is not None and self.entry != proven):
            raise ProofError("The proof carries no entry, or another one than was asked for.")
        verify_inclusion(
            leaf=leaf_hash(proven), index=self.index, size=checkpoint.size, proof=self.path, root=checkpoint.root
        )
        return proven


def prove_entry(source: Source, index: int) -> EntryProof:
    """Return the proof of an entry against the head that is published now.

    Raises:
        NotFoundError: the published head has no such entry, or there is none.
        TileMissingError: the published log is not whole.
    """

    def prove(note: str, tree: TileTree) -> EntryProof:
        if not 0 <= index < tree.size:
            raise NotFoundError(f"The published log has {tree.size} entries; entry {index} is not one of them.")
        return EntryProof(index, tuple(tree.inclusion(index)), note, tree.entry(index))

    return from_one_view(source, prove)


def from_one_view(source: Source, answer: Callable[[str, TileTree], Answer]) -> Answer:
    """Compute an answer from one checkpoint and its tiles, again when the log grew under it.

    Raises:
        NotFoundError: nothing is published yet.
        TileMissingError: the published log is not whole.
    """
    note = _read_note(source)
    for _ in range(ATTEMPTS):
        try:
            return answer(note, TileTree(source, Note.parse(note).checkpoint.size))
        except TileMissingError:
            before, note = note, _read_note(source)
            if note == before:
                raise
    raise TileMissingError("The log grew faster than its tiles could be read; ask again.")


def _read_note(source: Source) -> str:
    raw = source.read(CHECKPOINT)
    if raw is None:
        raise NotFoundError("There is no checkpoint here; give the place that holds one.")
    return raw.decode()


def _split(size: int) -> int:
    """Return the largest power of two under `size`."""
    return 1 << ((size - 1).bit_length() - 1)
