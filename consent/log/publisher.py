"""Publishing the log as tiles in a folder; each call costs what is new since the last one.

Order: entries and tiles, then openings, then the checkpoint, each durable with its name before the next. A
crash between leaves files ahead of the checkpoint, which the next publication writes again with the same bytes.
Many entries are read and written in parts, and come under one head at the end.
"""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from consent.contract import SigningKey
from consent.errors import LogError, LogInconsistentError
from consent.files import sync_folders, write_atomically
from consent.log.merkle import EMPTY_ROOT, Frontier
from consent.log.note import Checkpoint, Note, VerifierKey, open_checkpoint, sign_checkpoint, verifier_key
from consent.log.openings import FOLDER as OPENINGS
from consent.log.openings import SEGMENT_ENTRIES, OpeningsFolder
from consent.log.scrubbing import scrub_openings
from consent.log.signers import LogKeys, Signers
from consent.log.standstill import publishing_alone
from consent.log.store import StoredEntry, entries, read_head
from consent.log.tiling import TileWriter, remove_completed, tidy
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
        self._tiles = TileWriter(folder)
        self._published = Checkpoint(origin, 0, EMPTY_ROOT)
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
        return self._published.size

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
            if head.size == self.size and head.root() == self._published.root and self._signed():
                return
            self._torn = True
            try:
                self._write(head)
            except LogError:
                self._follow()
                raise
            self._torn = False

    def _signed(self) -> bool:
        """Whether the published head carries a line by every key that signs now."""
        lines = Note.parse(self._note).lines if self._note else ()
        return all(any(line.is_by(key) for line in lines) for key in self.verifiers)

    def _write(self, head: Frontier) -> None:
        before = self.size
        for fresh in self._chunks(before, head.size):
            self._tiles.append([stored.entry for stored in fresh])
            self._openings.append([stored.opening for stored in fresh])
        if self._tiles.frontier.root() != head.root():
            raise LogInconsistentError(
                f"The database's entries {before} to {head.size} do not lead to its head; "
                f"the published log stays as it is. Verify it, then restore the database."
            )
        written = self._tiles.finish(before)
        checkpoint = Checkpoint(origin=self._origin, size=head.size, root=head.root())
        note = self._seal(sign_checkpoint(checkpoint, *self._keys.signing))
        self._sync(written)
        self._write_verifier_key()
        write_atomically(self.folder / CHECKPOINT, note.encode())
        sync_folders([self.folder])
        self._note, self._published = note, checkpoint
        remove_completed(self.folder, before, head.size)

    def _chunks(self, start: int, end: int) -> Iterator[list[StoredEntry]]:
        """Read entries a segment of openings at a time, so that a long log is never held whole."""
        while start < end:
            following = min(end, start - start % SEGMENT_ENTRIES + SEGMENT_ENTRIES)
            with self._database.reading() as session:
                fresh = list(entries(session, start, following))
            yield fresh
            start = following

    def _sync(self, written: set[Path]) -> None:
        """Make the names of what was written durable, up to the log's own folder."""
        if (self.folder / OPENINGS).is_dir():
            written = written | {self.folder / OPENINGS}
        within = {self.folder, *self.folder.parents}
        sync_folders({above for path in written for above in (path, *path.parents)} - within | {self.folder})

    def _follow(self) -> None:
        """Start from what lies in the folder, also when another process published since."""
        path = self.folder / CHECKPOINT
        note = path.read_text() if path.exists() else None
        if note == self._note and not self._torn:
            return
        if note is None and self._note is not None:
            raise LogInconsistentError(f"The checkpoint in {self.folder} is gone; restore the published log.")
        checkpoint = open_checkpoint(note, *self._keys.known) if note else Checkpoint(self._origin, 0, EMPTY_ROOT)
        self._tiles = TileWriter.resume(self.folder, checkpoint)
        self._openings.resume(checkpoint.size)
        tidy(self.folder, checkpoint.size, published=note is not None)
        self._note, self._published, self._torn = note, checkpoint, False

    def _write_verifier_key(self) -> None:
        content = "".join(f"{key.encode()}\n" for key in self.verifiers).encode()
        path = self.folder / VERIFIER_KEY
        if not path.exists() or path.read_bytes() != content:
            write_atomically(path, content)


def _always(origin: str, key: SigningKey) -> Signers:
    keys = LogKeys((key,), (verifier_key(origin, key),))
    return lambda: keys
