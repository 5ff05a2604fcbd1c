"""Verifying a published log offline: everything is re-derived from its entries.

What can be shown: the log is whole and unchanged since its checkpoint was signed, witnesses saw it, and it
extends an earlier checkpoint. What can not be shown without an outside key: who signed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, Self

from consent.errors import ConsentError, NoteFormatError, SetupError
from consent.log.contents import Contents
from consent.log.note import Checkpoint, Note, VerifierKey, open_checkpoint, parse_keys
from consent.log.policy import NONE, Policy, printable
from consent.log.publisher import CHECKPOINT, VERIFIER_KEY
from consent.log.remote import FolderSource, LiveFolder, Source, open_source
from consent.log.report import Report

ATTEMPTS = 3


class Kept(NamedTuple):
    """A checkpoint that was kept from earlier, by the name under which findings tell of it."""

    name: str
    note: bytes


@dataclass(frozen=True)
class Trust:
    """Whose signatures count.

    Args:
        keys: the log's keys; at least one of each type must have signed.
        policy: logs, of which one must have signed, and the quorum of witnesses.
        now: POSIX time, for `max_age`.
        max_age: seconds after which a cosignature no longer counts.
    """

    keys: tuple[VerifierKey, ...] = ()
    policy: Policy | None = None
    now: int | None = None
    max_age: int | None = None

    @property
    def names_logs(self) -> bool:
        """Whether it says which logs are trusted."""
        return bool(self.keys or (self.policy and self.policy.logs))

    def log_keys(self) -> tuple[VerifierKey, ...]:
        """Return every key of a log that is trusted."""
        return self.keys + (self.policy.logs if self.policy else ())

    def without_quorum(self) -> Self:
        """Return the same for a head that was kept from before: its witnesses do not matter any more."""
        policy = None if self.policy is None else replace(self.policy, quorum=NONE)
        return replace(self, policy=policy, max_age=None)

    def open(self, text: str, keys: Sequence[VerifierKey] = ()) -> tuple[Checkpoint, dict[str, int]]:
        """Return a note's checkpoint and the times of its cosignatures by the policy's names of witnesses.

        Args:
            text: the note.
            keys: the log's keys that are taken where none are trusted from elsewhere.

        Raises:
            NoteFormatError: the note is malformed.
            SignatureError: no trusted log signed it, or a line by a known key does not fit.
            QuorumError: fewer witnesses cosigned it than the policy demands.
        """
        note = Note.parse(text)
        demanded = self.keys or (() if self.names_logs else tuple(keys))
        if demanded:
            open_checkpoint(text, *demanded)
        if self.policy is None:
            return note.checkpoint, {}
        if self.policy.logs:
            self._require_listed(text, self.policy.logs)
        return note.checkpoint, dict(self.policy.require_quorum(note, now=self.now, max_age=self.max_age))

    @staticmethod
    def _require_listed(text: str, logs: Sequence[VerifierKey]) -> None:
        note = Note.parse(text)
        signers = note.signers(logs)
        signed = [key for key in logs if key in signers]
        open_checkpoint(text, *([key for key in signed if key.name == note.checkpoint.origin][:1] or logs))


def read_trust(
    vkey: Path | None, policy: Path | None, *, now: int | None = None, max_age: int | None = None
) -> Trust:
    """Read whom to trust from files.

    Raises:
        SetupError: a file does not exist.
        NoteFormatError: a verifier key is not one.
        PolicyError: the policy does not follow its format.
    """
    for file in (vkey, policy):
        require_file(file)
    keys = parse_keys(vkey.read_text()) if vkey else ()
    return Trust(keys, Policy.parse(policy.read_bytes()) if policy else None, now, max_age)


def require_file(file: Path | None) -> None:
    """Refuse a path that names no file.

    Raises:
        SetupError: it does not exist.
    """
    if file is not None and not file.is_file():
        raise SetupError(f"There is no file {file}; check the path.")


def verify_folder(
    folder: Path, *, vkey: Path | None = None, since: Path | None = None, policy: Path | None = None
) -> Report:
    """Verify a published log in a folder; arguments and errors as `verify_log`."""
    return verify_place(str(folder), trust=read_trust(vkey, policy), since=since)


def verify_place(place: str, *, trust: Trust, since: Path | Kept | None = None) -> Report:
    """Verify a published log in a folder or at a URL; arguments and errors as `verify_log`.

    A log that grows, or loses openings to an erasure, while its files are read is begun again, at most twice.
    """
    for attempt in range(1, ATTEMPTS + 1):
        source = open_source(place)
        report = verify_log(source, trust=trust, since=since)
        if report.verified or attempt == ATTEMPTS or _present_note(source) == report.note:
            break
    return report


def _present_note(source: Source) -> bytes | None:
    live = LiveFolder(source.folder) if isinstance(source, FolderSource) else source
    return live.read(CHECKPOINT)


def verify_log(source: Source, *, trust: Trust, since: Path | Kept | None = None) -> Report:
    """Verify a published log.

    Args:
        source: what the publisher wrote, or a copy of it.
        trust: whose signatures count; where it names no log, `vkey` inside or beside a folder is used.
        since: a checkpoint of the same log that was kept from earlier, or the file with it.

    Raises:
        SetupError: there is no verifier key, or no such file.
        UnavailableError: a server does not answer as it should.
    """
    if isinstance(since, Path):
        require_file(since)
        since = Kept(str(since), since.read_bytes())
    return _Verification(source, trust=trust, since=since).run()


class _Verification:
    def __init__(self, source: Source, *, trust: Trust, since: Kept | None) -> None:
        self._source = source
        self._trust = trust
        self._since = since
        self._report = Report(key_from_same_place=not trust.names_logs)
        self._keys: tuple[VerifierKey, ...] = ()

    def run(self) -> Report:
        """Check in the order in which trust is built: key, checkpoint, history, contents, leftovers."""
        checkpoint = self._read_checkpoint() if self._read_keys() else None
        if checkpoint:
            self._report.origin, self._report.size = checkpoint.origin, checkpoint.size
            self._report.root = checkpoint.root.hex()
            contents = Contents(self._source, checkpoint, self._report)
            contents.check(self._read_since(checkpoint))
            contents.check_rest({CHECKPOINT, VERIFIER_KEY})
        return self._report

    def _read_keys(self) -> bool:
        """Read the keys beside the log, and hold them against those that are trusted from elsewhere."""
        raw = self._source.read(VERIFIER_KEY)
        trusted = self._trust.log_keys()
        if raw is None and isinstance(self._source, FolderSource) and not trusted:
            beside = self._source.folder.parent / VERIFIER_KEY
            raw = beside.read_bytes() if beside.is_file() else None
        if raw is None and not trusted:
            raise SetupError("There is no verifier key in or beside the log; pass one with --vkey.")
        if raw is not None:
            self._keys = self._parse_keys(raw)
            if trusted and not set(self._keys) & set(trusted):
                self._report.add("verifier key", VERIFIER_KEY, "it is not the key that was passed in")
        return bool(trusted or self._keys)

    def _parse_keys(self, raw: bytes) -> tuple[VerifierKey, ...]:
        try:
            text = raw.decode()
            keys = parse_keys(text)
        except (NoteFormatError, UnicodeDecodeError) as error:
            self._report.add("verifier key", VERIFIER_KEY, _reason(error))
            return ()
        if text != "".join(f"{key.encode()}\n" for key in keys):
            self._report.add("verifier key", VERIFIER_KEY, "it holds more or less than one key a line")
        return keys

    def _read_checkpoint(self) -> Checkpoint | None:
        raw = self._source.read(CHECKPOINT)
        self._report.note = raw
        if raw is None:
            self._report.add("checkpoint", CHECKPOINT, "it is missing")
            return None
        opened = self._open(raw, CHECKPOINT, self._trust)
        if opened is None:
            return None
        checkpoint, times = opened
        self._report.witnesses = {printable(name): time for name, time in times.items()}
        if self._trust.policy is not None:
            self._report.quorum = printable(self._trust.policy.quorum)
        return checkpoint

    def _read_since(self, checkpoint: Checkpoint) -> Checkpoint | None:
        if self._since is None:
            return None
        opened = self._open(self._since.note, self._since.name, self._trust.without_quorum())
        if opened is None:
            return None
        earlier = opened[0]
        self._report.since = earlier.size
        if earlier.origin != checkpoint.origin:
            self._report.add("history", self._since.name, "it is a checkpoint of another log")
            return None
        if earlier.size > checkpoint.size:
            why = f"the log was rolled back: it had {earlier.size} entries and has {checkpoint.size}"
            self._report.add("history", CHECKPOINT, why)
            return None
        return earlier

    def _open(self, raw: bytes, name: str, trust: Trust) -> tuple[Checkpoint, dict[str, int]] | None:
        try:
            return trust.open(raw.decode(), self._keys)
        except (ConsentError, UnicodeDecodeError) as error:
            self._report.add("checkpoint", name, _reason(error))
            return None


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, ConsentError) else "it is not UTF-8 text"
