"""Whether a head may be cosigned: the checks of C2SP tlog-witness, add-checkpoint, in their order."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self

from consent.contract import SigningKey
from consent.errors import (
    ConflictError,
    ForbiddenError,
    InvalidRequestError,
    NoteFormatError,
    NotFoundError,
    ProofError,
    SignatureError,
    StaleSizeError,
)
from consent.log.merkle import verify_consistency
from consent.log.note import ROOT_BYTES, Checkpoint, Note, VerifierKey, cosign, decode_base64
from consent.witness.store import WitnessStore

OLD = re.compile(r"old (0|[1-9][0-9]{0,18})")
MAX_PROOF = 63


@dataclass(frozen=True)
class Submission:
    """The body of add-checkpoint: the size that the log believes was cosigned last, a proof, and a head."""

    old_size: int
    proof: tuple[bytes, ...]
    note: Note

    @classmethod
    def parse(cls, body: str) -> Self:
        """Read a request's body.

        Raises:
            InvalidRequestError: it does not follow the format.
        """
        head, blank, note = body.partition("\n\n")
        first, *hashes = head.split("\n")
        old = OLD.fullmatch(first)
        if old is None or not blank or len(hashes) > MAX_PROOF:
            raise InvalidRequestError("Send `old SIZE`, up to 63 hashes, an empty line and a checkpoint.")
        try:
            proof = tuple(decode_base64(line) for line in hashes)
            parsed = Note.parse(note)
        except NoteFormatError as error:
            raise InvalidRequestError(str(error)) from None
        if any(len(node) != ROOT_BYTES for node in proof):
            raise InvalidRequestError("A hash of the proof is not 32 bytes long.")
        return cls(int(old[1]), proof, parsed)


class Judge:
    """Cosigns what extends the last head of a known log.

    Args:
        name: the witness's name.
        key: its private key.
        logs: the known keys of every log by its origin.
        store: what was cosigned before.
        admit: counts a head that its log signed; raises when there were too many.
        now: POSIX time.
    """

    def __init__(
        self,
        *,
        name: str,
        key: SigningKey,
        logs: Mapping[str, tuple[VerifierKey, ...]],
        store: WitnessStore,
        admit: Callable[[str], None],
        now: Callable[[], int],
    ) -> None:
        self._name = name
        self._key = key
        self._logs = logs
        self._store = store
        self._admit = admit
        self._now = now

    def cosign(self, submission: Submission) -> str:
        """Return the cosignature line of a head that was kept as the log's last one.

        Raises:
            NotFoundError: the log is not known.
            ForbiddenError: none of the log's keys signed the head.
            InvalidRequestError: the old size is over the head's.
            StaleSizeError: the last cosigned head has another size; the error carries it.
            ConflictError: a head of this size with another root was cosigned.
            ProofError: the head does not extend the last one.
            RateLimitedError: the log submitted too many heads.
            BusyError: another worker holds the state.
        """
        checkpoint = submission.note.checkpoint
        signed = self._signed_by_log(submission.note)
        self._admit(checkpoint.origin)
        if submission.old_size > checkpoint.size:
            raise InvalidRequestError("The old size is over the checkpoint's size.")

        def decide(last: Checkpoint) -> Note:
            _require_extension(last, submission)
            line = cosign(checkpoint, name=self._name, key=self._key, timestamp=self._now())
            return Note(checkpoint, (*signed.lines, line))

        return self._store.replace(checkpoint.origin, decide).lines[-1].encode()

    def _signed_by_log(self, note: Note) -> Note:
        """Return the note with the lines of its log's keys alone: nothing unchecked is ever kept."""
        keys = self._logs.get(note.checkpoint.origin)
        if keys is None:
            raise NotFoundError("This witness does not know that log.")
        try:
            signers = note.signers(keys)
        except SignatureError:
            signers = {}
        if not signers:
            raise ForbiddenError("No key that this witness trusts for that log signed the checkpoint.")
        lines = [line for line in note.lines if any(line.is_by(key) for key in signers)]
        return Note(note.checkpoint, tuple(dict.fromkeys(lines)))


def _require_extension(last: Checkpoint, submission: Submission) -> None:
    head = submission.note.checkpoint
    if submission.old_size != last.size:
        raise StaleSizeError(last.size)
    if head.size == last.size and head.root != last.root:
        raise ConflictError(f"A head of {last.size} entries with another root was cosigned before.")
    if last.size in (0, head.size):
        if submission.proof:
            raise ProofError("The proof must be empty where there is nothing to prove.")
        return
    verify_consistency(
        old_size=last.size,
        old_root=last.root,
        new_size=head.size,
        new_root=head.root,
        proof=submission.proof,
    )
