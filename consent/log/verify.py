"""Verifying a published log offline: everything in the folder is re-derived from its entries.

What can be shown: the folder is whole and unchanged since its checkpoint was signed, and it extends an
earlier checkpoint. What can not be shown without an outside key: who signed.
"""

from collections.abc import Sequence
from pathlib import Path

from consent.errors import ConsentError, LogError, NoteFormatError, SetupError
from consent.log.commitments import Opening, SealedOpening, parse_opening
from consent.log.merkle import leaf_hash, root_hash
from consent.log.note import Checkpoint, VerifierKey, open_checkpoint
from consent.log.openings import SEGMENT_ENTRIES, segment_path
from consent.log.publisher import CHECKPOINT, VERIFIER_KEY
from consent.log.report import Report
from consent.log.tiles import ENTRIES, HASH_BYTES, TILE_WIDTH, decode_bundle, decode_tile, layout, tile_path


def verify_folder(folder: Path, *, vkey: Path | None = None, since: Path | None = None) -> Report:
    """Verify a published log.

    Args:
        folder: what the publisher wrote, or a copy of it.
        vkey: file with the verifier key; without one, `vkey` inside or beside the folder is used.
        since: file with a checkpoint of the same log that was kept from earlier.

    Raises:
        SetupError: the folder or a named file does not exist.
        NoteFormatError: the verifier key passed in is not one.
    """
    if not folder.is_dir():
        raise SetupError(f"There is no folder {folder}; give the folder that holds `checkpoint`.")
    for file in (vkey, since):
        if file is not None and not file.is_file():
            raise SetupError(f"There is no file {file}; check the path.")
    return _Verification(folder, vkey=vkey, since=since).run()


class _Verification:
    def __init__(self, folder: Path, *, vkey: Path | None, since: Path | None) -> None:
        self._folder = folder
        self._vkey = vkey
        self._since = since
        self._report = Report(key_from_same_place=vkey is None)
        self._entries: list[bytes | None] = []
        self._leaves: list[bytes | None] = []
        self._files = {
            path.relative_to(folder).as_posix(): path
            for path in folder.rglob("*")
            if path.is_symlink() or not path.is_dir()
        }
        self._expected = {CHECKPOINT}

    def run(self) -> Report:
        """Check in the order in which trust is built: key, checkpoint, entries, tiles, openings, rest."""
        key = self._read_key()
        checkpoint = self._read_checkpoint(key) if key else None
        if key and checkpoint:
            self._report.origin, self._report.size = checkpoint.origin, checkpoint.size
            self._report.root = checkpoint.root.hex()
            earlier = self._read_since(key, checkpoint)
            self._check_entries(checkpoint, earlier)
            self._check_tiles(checkpoint.size)
            self._check_openings(checkpoint.size)
            self._check_rest()
        return self._report

    def _read_key(self) -> VerifierKey | None:
        inside = self._files.get(VERIFIER_KEY)
        beside = self._folder.parent / VERIFIER_KEY
        self._expected.add(VERIFIER_KEY)
        if self._vkey is not None:
            key = VerifierKey.parse(self._vkey.read_text().strip())
            if inside is not None and inside.read_bytes() != f"{key.encode()}\n".encode():
                self._report.add("verifier key", VERIFIER_KEY, "it is not the key that was passed in")
            return key
        found = inside or (beside if beside.is_file() else None)
        if found is None:
            raise SetupError(f"There is no verifier key in or beside {self._folder}; pass one with --vkey.")
        try:
            text = found.read_bytes().decode()
            key = VerifierKey.parse(text.removesuffix("\n"))
        except (NoteFormatError, UnicodeDecodeError) as error:
            self._report.add("verifier key", VERIFIER_KEY, _reason(error))
            return None
        if text != f"{key.encode()}\n":
            self._report.add("verifier key", VERIFIER_KEY, "it holds more or less than one line")
        return key

    def _read_checkpoint(self, key: VerifierKey) -> Checkpoint | None:
        if CHECKPOINT not in self._files:
            self._report.add("checkpoint", CHECKPOINT, "it is missing")
            return None
        return self._open(key, self._files[CHECKPOINT], CHECKPOINT)

    def _read_since(self, key: VerifierKey, checkpoint: Checkpoint) -> Checkpoint | None:
        if self._since is None:
            return None
        earlier = self._open(key, self._since, str(self._since))
        if earlier is None:
            return None
        self._report.since = earlier.size
        if earlier.size > checkpoint.size:
            self._report.add(
                "history",
                CHECKPOINT,
                f"the log was rolled back: it had {earlier.size} entries and has {checkpoint.size}",
            )
            return None
        return earlier

    def _open(self, key: VerifierKey, path: Path, name: str) -> Checkpoint | None:
        try:
            return open_checkpoint(path.read_bytes().decode(), key)
        except (ConsentError, UnicodeDecodeError) as error:
            self._report.add("checkpoint", name, _reason(error))
            return None

    def _check_entries(self, checkpoint: Checkpoint, earlier: Checkpoint | None) -> None:
        """Settle which leaves the checkpoint commits to, then hold entries and history against them."""
        for level, index, width in layout(checkpoint.size):
            if level == 0:
                self._read_bundle(index, width)
        given = [None if entry is None else leaf_hash(entry) for entry in self._entries]
        self._leaves = given
        if _root(given) != checkpoint.root:
            self._report.add("root", CHECKPOINT, "the entries do not lead to the checkpoint's root")
            stated = self._stated_leaves(checkpoint.size)
            if _root(stated) == checkpoint.root:
                self._leaves = stated
        for index, (found, expected) in enumerate(zip(given, self._leaves, strict=True)):
            if found is not None and found != expected:
                why = "it is not the entry that the checkpoint commits to"
                self._report.add("entry", self._bundle_of(index), why, entry=index)
        if earlier is not None and _root(self._leaves[: earlier.size]) != earlier.root:
            self._report.add("history", CHECKPOINT, "the log does not extend the earlier checkpoint")

    def _stated_leaves(self, size: int) -> list[bytes | None]:
        """Return the leaves as the tiles of level 0 state them."""
        leaves: list[bytes | None] = []
        for level, index, width in layout(size):
            if level == 0:
                path = self._files.get(tile_path(0, index, width))
                raw = path.read_bytes() if path else b""
                leaves += decode_tile(raw) if len(raw) == HASH_BYTES * width else [None] * width
        return leaves

    def _bundle_of(self, entry: int) -> str:
        index = entry // TILE_WIDTH
        return tile_path(ENTRIES, index, min(TILE_WIDTH, len(self._entries) - index * TILE_WIDTH))

    def _read_bundle(self, index: int, width: int) -> None:
        name = tile_path(ENTRIES, index, width)
        raw = self._take(name, "entries")
        found: list[bytes] = []
        if raw is not None:
            try:
                found = decode_bundle(raw)
            except LogError as error:
                self._report.add("entries", name, _reason(error), entry=index * TILE_WIDTH)
            else:
                if len(found) != width:
                    self._report.add(
                        "entries",
                        name,
                        f"it holds {len(found)} entries instead of {width}",
                        entry=index * TILE_WIDTH + min(len(found), width),
                    )
        self._entries += found if len(found) == width else [None] * width

    def _check_tiles(self, size: int) -> None:
        hashes: list[bytes | None] = self._leaves
        below = 0
        for level, index, width in layout(size):
            if level != below:
                hashes, below = _next_level(hashes), level
            name = tile_path(level, index, width)
            raw = self._take(name, "tile")
            if raw is None:
                continue
            start = index * TILE_WIDTH
            self._compare(name, raw, hashes[start : start + width], start if level == 0 else None)

    def _compare(self, name: str, raw: bytes, hashes: list[bytes | None], first: int | None) -> None:
        if len(raw) != HASH_BYTES * len(hashes):
            self._report.add("tile", name, f"it holds {len(raw)} bytes instead of {HASH_BYTES * len(hashes)}")
            return
        for offset, expected in enumerate(hashes):
            found = raw[offset * HASH_BYTES : (offset + 1) * HASH_BYTES]
            if expected is not None and found != expected:
                entry = None if first is None else first + offset
                self._report.add("tile", name, "it holds a hash that the entries do not give", entry=entry)

    def _check_openings(self, size: int) -> None:
        """Check an officer's copy, which holds every opening; a public mirror holds none at all."""
        starts = range(0, size, SEGMENT_ENTRIES)
        if any(segment_path(start) in self._files for start in starts):
            for start in starts:
                if self._take(segment_path(start), "openings") is not None:
                    self._check_segment(segment_path(start), start, min(start + SEGMENT_ENTRIES, size))
        self._report.withheld = size - self._report.openings - self._report.sealed - self._report.erased

    def _check_segment(self, name: str, start: int, end: int) -> None:
        *lines, rest = self._files[name].read_bytes().split(b"\n")
        if rest:
            self._report.add("opening", name, "its last line breaks off")
        expected = start
        for number, line in enumerate(lines, 1):
            try:
                opening = parse_opening(line)
            except LogError as error:
                self._report.add("opening", name, f"line {number}: {_reason(error)}")
                continue
            if not expected <= opening.index < end:
                self._report.add("opening", name, f"line {number} is out of order", entry=opening.index)
                continue
            self._report_gap(name, expected, opening.index)
            expected = opening.index + 1
            entry = self._entries[opening.index]
            if not isinstance(opening, Opening):
                self._report.sealed += isinstance(opening, SealedOpening)
                self._report.erased += not isinstance(opening, SealedOpening)
            elif entry is None or not opening.opens(entry):
                self._report.add("opening", name, "it is not what the entry commits to", entry=opening.index)
            else:
                self._report.openings += 1
        self._report_gap(name, expected, end)

    def _report_gap(self, name: str, expected: int, found: int) -> None:
        if found > expected:
            last = f" to {found - 1}" if found > expected + 1 else ""
            why = f"the opening of entry {expected}{last} is missing, while others are there"
            self._report.add("openings", name, why, entry=expected)

    def _check_rest(self) -> None:
        for name in sorted(set(self._files) - self._expected):
            self._report.add("file", name, "it does not belong to a log of this size")

    def _take(self, name: str, what: str) -> bytes | None:
        self._expected.add(name)
        path = self._files.get(name)
        if path is None:
            self._report.add(what, name, "it is missing")
            return None
        return path.read_bytes()


def _root(leaves: Sequence[bytes | None]) -> bytes | None:
    """Return the root; None when a leaf is not known."""
    known = [leaf for leaf in leaves if leaf is not None]
    return root_hash(known) if len(known) == len(leaves) else None


def _next_level(hashes: list[bytes | None]) -> list[bytes | None]:
    """Return the roots of the full tiles of a level; None where one of its hashes is not known."""
    parents: list[bytes | None] = []
    for start in range(0, len(hashes) - TILE_WIDTH + 1, TILE_WIDTH):
        known = [node for node in hashes[start : start + TILE_WIDTH] if node is not None]
        parents.append(root_hash(known) if len(known) == TILE_WIDTH else None)
    return parents


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, ConsentError) else "it is not UTF-8 text"
