"""Publishing the log as tiles in a folder; each call costs what is new since the last one.

Order: entries and tiles, then openings, then the checkpoint, each durable with its name before the next. A
crash between leaves files ahead of the checkpoint, which the next publication writes again with the same bytes.
"""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from consent.contract import SigningKey
from consent.errors import LogError, LogInconsistentError, QuorumError
from consent.files import sync_folders, write_atomically
from consent.log.merkle import EMPTY_ROOT, Frontier, leaf_hash, root_hash
from consent.log.note import Checkpoint, Note, VerifierKey, open_checkpoint, sign_checkpoint, verifier_key
from consent.log.openings import FOLDER as OPENINGS
from consent.log.openings import OpeningsFolder
from consent.log.scrubbing import scrub_openings
from consent.log.signers import LogKeys, Signers
from consent.log.standstill import publishing_alone
from consent.log.store import StoredEntry, entries, read_head
from consent.log.tiles import (
    ENTRIES,
    TILE_WIDTH,
    decode_bundle,
    decode_tile,
    encode_bundle,
    index_path,
    layout,
    tile_path,
)
from consent.store.database import Database

CHECKPOINT = "checkpoint"
VERIFIER_KEY = "vkey"


class Publisher:
    """Keeps a folder equal to the log in the database.

    It refuses a database that does not extend what is already published, so that a restored backup can not
    rewrite history.

    Args:
        database: holds the log.
        folder: what is published into.
        origin: the log's name.
        key: what signs its heads.
        seal: given a signed head whose tiles lie in the folder, returns what is published as the checkpoint;
            where it raises `QuorumError`, the last checkpoint stays.
    """

    def __init__(
        self,
        *,
        database: Database,
        folder: Path,
        origin: str,
        key: SigningKey | Signers,
        seal: Callable[[str], str] = str,
    ) -> None:
        self.folder = folder
        self._seal = seal
        self._origin = origin
        self._signers = _always(origin, key) if isinstance(key, SigningKey) else key
        self._keys = self._signers()
        self._database = database
        self._lock = threading.Lock()
        self._openings = OpeningsFolder(folder)
        self._frontier = Frontier()
        self._bundle: list[bytes] = []
        self._levels: list[list[bytes]] = []
        self._note: str | None = None
        self._torn = True

    @property
    def verifier(self) -> VerifierKey:
        """The verifier key of the log's current key."""
        return self.verifiers[0]

    @property
    def verifiers(self) -> tuple[VerifierKey, ...]:
        """The verifier keys of all keys that sign, newest first."""
        return tuple(verifier_key(self._origin, key) for key in self._keys.signing)

    @property
    def size(self) -> int:
        """Entries published so far."""
        return self._frontier.size

    def start(self) -> None:
        """Make the folder, write the verifier key beside it, and publish what is not yet there.

        Raises:
            LogInconsistentError: the database is older than the published log, or tells another history.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write_verifier_key()
        self.publish()

    def publish(self) -> None:
        """Bring the folder up to the database's head; concurrent calls share one publication.

        Raises:
            LogInconsistentError: the entries in the database do not lead to the database's own head.
            QuorumError: too few witnesses cosigned the new head; the old one stays.
        """
        with self._lock, publishing_alone(self.folder):
            self._keys = self._signers()
            self._follow()
            scrub_openings(self._database, self._openings, self.size)
            with self._database.reading() as session:
                head = read_head(session)
                if head.size < self.size:
                    raise LogInconsistentError(
                        f"The database holds {head.size} log entries, but {self.size} are published; "
                        f"it is an old copy. Restore the newest database before starting."
                    )
                if head.size == self.size and head.root() == self._frontier.root() and self._signed():
                    return
                fresh = list(entries(session, self.size, head.size))
            self._torn = True
            try:
                self._write(fresh, head)
            except QuorumError:
                self._follow()
                raise
            self._torn = False

    def _signed(self) -> bool:
        """Whether the published head carries a line by every key that signs now."""
        lines = Note.parse(self._note).lines if self._note else ()
        return all(any(line.is_by(key) for line in lines) for key in self.verifiers)

    def _write(self, fresh: Sequence[StoredEntry], head: Frontier) -> None:
        frontier = Frontier(self.size, self._frontier.nodes)
        for stored in fresh:
            frontier.append(leaf_hash(stored.entry))
        if frontier.root() != head.root():
            raise LogInconsistentError(
                f"The database's entries {self.size} to {head.size} do not lead to its head; "
                f"the published log stays as it is. Verify it, then restore the database."
            )
        stale = self._write_bundles([stored.entry for stored in fresh])
        stale += self._write_tiles([leaf_hash(stored.entry) for stored in fresh])
        checkpoint = Checkpoint(origin=self._origin, size=head.size, root=head.root())
        note = self._seal(sign_checkpoint(checkpoint, *self._keys.signing))
        self._openings.append([stored.opening for stored in fresh])
        self._sync([directory for directory, _ in stale])
        self._write_verifier_key()
        write_atomically(self.folder / CHECKPOINT, note.encode())
        sync_folders([self.folder])
        self._note, self._frontier = note, frontier
        for directory, width in stale:
            _remove_partials(directory, keep=width)

    def _sync(self, partials: Sequence[Path]) -> None:
        """Make the names of what was written durable, up to the log's own folder."""
        written = {path for path in (*partials, self.folder / OPENINGS) if path.is_dir()}
        written |= {directory.parent for directory in partials}
        within = {self.folder, *self.folder.parents}
        sync_folders({above for path in written for above in (path, *path.parents)} - within | {self.folder})

    def _write_bundles(self, fresh: Sequence[bytes]) -> list[tuple[Path, int]]:
        pending = self._bundle + list(fresh)
        start = (self.size - len(self._bundle)) // TILE_WIDTH
        stale = []
        for offset in range(0, len(pending), TILE_WIDTH):
            chunk = pending[offset : offset + TILE_WIDTH]
            stale.append(self._write_tile(ENTRIES, start + offset // TILE_WIDTH, encode_bundle(chunk), len(chunk)))
        self._bundle = pending[len(pending) - len(pending) % TILE_WIDTH :]
        return stale

    def _write_tiles(self, leaves: Sequence[bytes]) -> list[tuple[Path, int]]:
        stale = []
        fresh, level, before = list(leaves), 0, self.size
        while fresh:
            if level == len(self._levels):
                self._levels.append([])
            pending = self._levels[level] + fresh
            start = (before - len(self._levels[level])) // TILE_WIDTH
            chunks = [pending[offset : offset + TILE_WIDTH] for offset in range(0, len(pending), TILE_WIDTH)]
            for number, chunk in enumerate(chunks, start):
                stale.append(self._write_tile(level, number, b"".join(chunk), len(chunk)))
            self._levels[level] = chunks[-1] if len(chunks[-1]) < TILE_WIDTH else []
            fresh = [root_hash(chunk) for chunk in chunks if len(chunk) == TILE_WIDTH]
            level, before = level + 1, before // TILE_WIDTH
        return stale

    def _write_tile(self, level: int | str, index: int, content: bytes, width: int) -> tuple[Path, int]:
        write_atomically(self.folder / tile_path(level, index, width), content)
        return self.folder / f"tile/{level}/{index_path(index)}.p", width

    def _follow(self) -> None:
        """Start from what lies in the folder, also when another process published since."""
        path = self.folder / CHECKPOINT
        note = path.read_text() if path.exists() else None
        if note == self._note and not self._torn:
            return
        if note is None and self._note is not None:
            raise LogInconsistentError(f"The checkpoint in {self.folder} is gone; restore the published log.")
        checkpoint = open_checkpoint(note, *self._keys.known) if note else Checkpoint(self._origin, 0, EMPTY_ROOT)
        self._resume(checkpoint)
        self._openings.resume(checkpoint.size)
        self._tidy(checkpoint.size)
        self._note, self._torn = note, False

    def _resume(self, checkpoint: Checkpoint) -> None:
        """Take the partial tiles from the folder; their root must be the checkpoint's."""
        try:
            bundle = self._read_partial(ENTRIES, checkpoint.size)
            self._bundle = decode_bundle(bundle)
            self._levels = []
            level, count = 0, checkpoint.size
            while count:
                self._levels.append(decode_tile(self._read_partial(level, count)))
                level, count = level + 1, count // TILE_WIDTH
        except (OSError, LogError) as error:
            raise LogInconsistentError(
                f"The published log in {self.folder} is damaged; run `confide audit verify` on it."
            ) from error
        self._frontier = _frontier(checkpoint.size, self._levels)
        leaves = [leaf_hash(entry) for entry in self._bundle]
        if self._frontier.root() != checkpoint.root or leaves != (self._levels[0] if self._levels else []):
            raise LogInconsistentError(
                f"The published tiles in {self.folder} do not lead to their checkpoint; "
                f"run `confide audit verify` on it."
            )

    def _tidy(self, size: int) -> None:
        """Remove what lies ahead of the checkpoint: half-written files, tiles of other sizes."""
        tiles = list(layout(size))
        current = {tile_path(level, index, width) for level, index, width in tiles}
        current |= {tile_path(ENTRIES, index, width) for level, index, width in tiles if level == 0}
        for path in self.folder.rglob(".*.new"):
            path.unlink()
        for path in list(self.folder.glob("tile/**/*" if size else "tile/**/*.p/*")):
            if path.relative_to(self.folder).as_posix() not in current and path.is_file():
                path.unlink()
                if path.parent.suffix == ".p" and not any(path.parent.iterdir()):
                    path.parent.rmdir()

    def _read_partial(self, level: int | str, count: int) -> bytes:
        width = count % TILE_WIDTH
        return (self.folder / tile_path(level, count // TILE_WIDTH, width)).read_bytes() if width else b""

    def _write_verifier_key(self) -> None:
        content = "".join(f"{key.encode()}\n" for key in self.verifiers).encode()
        path = self.folder / VERIFIER_KEY
        if not path.exists() or path.read_bytes() != content:
            write_atomically(path, content)


def _always(origin: str, key: SigningKey) -> Signers:
    keys = LogKeys((key,), (verifier_key(origin, key),))
    return lambda: keys


def _frontier(size: int, levels: Sequence[Sequence[bytes]]) -> Frontier:
    """Return the frontier: within each partial tile, from the highest level down, its perfect subtrees."""
    nodes: list[bytes] = []
    for level in reversed(levels):
        within = Frontier()
        for node in level:
            within.append(node)
        nodes += within.nodes
    return Frontier(size, nodes)


def _remove_partials(directory: Path, *, keep: int) -> None:
    """Remove the partial versions of one tile, except the one of width `keep`."""
    if not directory.is_dir():
        return
    for path in directory.iterdir():
        if path.name != str(keep):
            path.unlink()
    if keep == TILE_WIDTH:
        directory.rmdir()
