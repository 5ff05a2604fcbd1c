"""The log's side of tlog-witness: a head is shown to witnesses before it is published.

A head that does not reach its quorum is not published; a witness that saw a longer or another log than this
one stops publication, for then the database or the folder is an old copy, or somebody forked the log.
"""

import base64
import hashlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx

from consent.errors import (
    ConsentError,
    LogInconsistentError,
    NoteFormatError,
    QuorumError,
    SetupError,
    SignatureError,
)
from consent.log.note import ED25519, Checkpoint, Note, SignatureLine, VerifierKey
from consent.log.proof import TileTree
from consent.log.remote import Source
from consent.log.witnessed import WitnessedSizes

TIMEOUT = 5.0
MAX_ANSWER_BYTES = 64 * 1024
MAX_ATTEMPTS = 3
SIZE_TYPE = "text/x.tlog.size"
OK, NOT_FOUND, CONFLICT, UNPROCESSABLE = 200, 404, 409, 422

Refused = Callable[[str, str], None]


@dataclass(frozen=True)
class WitnessAddress:
    """Where a witness takes heads (its submission prefix), and the key under which it cosigns."""

    url: str
    key: VerifierKey


class Witnessing:
    """Shows heads to witnesses and collects what they sign.

    Args:
        witnesses: whom to ask.
        quorum: how many must cosign; 0 publishes with those that do.
        http: the client to use; it must not follow redirects.
        source: the folder that the log is published into.
        on_refusal: told the name of a witness that did not cosign, and why.
        witnessed: what they cosigned last, as far as it is known.
    """

    def __init__(
        self,
        witnesses: Sequence[WitnessAddress],
        *,
        quorum: int,
        http: httpx.Client,
        source: Source,
        on_refusal: Refused,
        witnessed: WitnessedSizes | None = None,
    ) -> None:
        self._witnesses = tuple(witnesses)
        self._quorum = quorum
        self._http = http
        self._source = source
        self._on_refusal = on_refusal
        self._witnessed = WitnessedSizes() if witnessed is None else witnessed

    def require_newest(self, origin: str, size: int) -> None:
        """Refuse a log that is shorter than what a witness cosigned, by its own word or by what is on record.

        Args:
            origin: the log's name.
            size: how many entries its database holds.

        Raises:
            LogInconsistentError: it is.
            SetupError: of fewer witnesses than the quorum is it known what they cosigned, and there is a log.
        """
        if not self._witnesses:
            return
        with ThreadPoolExecutor(len(self._witnesses)) as pool:
            list(pool.map(lambda witness: self._learn(witness, origin), self._witnesses))
        self._witnessed.save()
        seen = [(witness, self._witnessed.of(witness.key)) for witness in self._witnesses]
        for witness, cosigned in seen:
            if cosigned is not None and cosigned > size:
                raise _older(witness, cosigned, size)
        known = sum(cosigned is not None for _, cosigned in seen)
        if size and known < self._quorum:
            raise SetupError(
                f"It is known of {known} of {len(self._witnesses)} witnesses what they cosigned, and "
                f"{self._quorum} are needed to know that this log is not an old copy; start when more answer."
            )

    def seal(self, text: str) -> str:
        """Return a signed head with the cosignatures that it got; its tiles must lie in the folder.

        Raises:
            QuorumError: fewer witnesses cosigned than are needed.
            LogInconsistentError: a witness cosigned a longer log, or another one.
        """
        if not self._witnesses:
            return text
        note = Note.parse(text)
        tree = TileTree(self._source, note.checkpoint.size)
        with ThreadPoolExecutor(len(self._witnesses)) as pool:
            answers = list(pool.map(lambda witness: self._ask(witness, note, tree), self._witnesses))
        self._witnessed.save()
        lines = [line for answer in answers for line in answer]
        count = sum(bool(answer) for answer in answers)
        if count < self._quorum:
            raise QuorumError(
                f"{count} of {len(self._witnesses)} witnesses cosigned the head of {note.checkpoint.size} entries "
                f"and {self._quorum} are needed; it stays unpublished until they do."
            )
        return Note(note.checkpoint, (*note.lines, *lines)).encode()

    def confirm(self, text: str) -> None:
        """Refuse a published head that is older than one that a witness cosigned, or differs from it.

        Raises:
            LogInconsistentError: it is.
        """
        note = Note.parse(text)
        tree = TileTree(self._source, note.checkpoint.size)
        for witness in self._witnesses:
            self._ask(witness, note, tree)
        self._witnessed.save()

    def _learn(self, witness: WitnessAddress, origin: str) -> None:
        """Ask a witness for the last head that it cosigned (C2SP tlog-witness, monitoring)."""
        try:
            path = f"{hashlib.sha256(origin.encode()).hexdigest()}/checkpoint"
            status, _, content = self._send("GET", witness, path)
            if status == NOT_FOUND:
                self._witnessed.learn(witness.key, 0)
                return
            if status != OK:
                raise NoteFormatError(f"it answered {status}")
            note = Note.parse(content)
            if note.checkpoint.origin != origin or not note.signers([witness.key]):
                raise SignatureError("it sent no head of this log under its verifier key")
            self._witnessed.learn(witness.key, note.checkpoint.size)
        except (ConsentError, httpx.HTTPError) as error:
            self._tell(witness, error)

    def _tell(self, witness: WitnessAddress, error: Exception) -> None:
        reason = str(error) if isinstance(error, ConsentError) else type(error).__name__
        self._on_refusal(witness.key.name, reason)

    def _ask(self, witness: WitnessAddress, note: Note, tree: TileTree) -> tuple[SignatureLine, ...]:
        try:
            return self._submit(witness, note, tree)
        except LogInconsistentError:
            raise
        except (ConsentError, httpx.HTTPError) as error:
            self._tell(witness, error)
            return ()

    def _submit(self, witness: WitnessAddress, note: Note, tree: TileTree) -> tuple[SignatureLine, ...]:
        old = min(self._witnessed.of(witness.key) or 0, tree.size)
        for _ in range(MAX_ATTEMPTS):
            status, kind, content = self._send(
                "POST", witness, "add-checkpoint", submission(old, tree.consistency(old), note)
            )
            if status == OK:
                lines = _cosignatures(content, witness.key, note.checkpoint)
                self._witnessed.learn(witness.key, tree.size)
                return lines
            if status == UNPROCESSABLE or (status == CONFLICT and kind != SIZE_TYPE):
                raise _another_history(witness, tree.size)
            if status != CONFLICT:
                break
            seen = _read_size(content)
            if seen > tree.size or seen == old:
                raise _another_history(witness, tree.size)
            old = seen
        raise NoteFormatError(f"it answered {status}")

    def _send(
        self, method: str, witness: WitnessAddress, path: str, body: bytes | None = None
    ) -> tuple[int, str, str]:
        """Return status, type and text of the answer."""
        url = f"{witness.url.rstrip('/')}/{path}"
        with self._http.stream(method, url, content=body, timeout=TIMEOUT) as response:
            content = bytearray()
            for chunk in response.iter_bytes():
                content += chunk
                if len(content) > MAX_ANSWER_BYTES:
                    raise NoteFormatError("its answer is too long")
            kind = response.headers.get("content-type", "").partition(";")[0].strip()
            return response.status_code, kind, content.decode("utf-8", "replace")


def submission(old_size: int, proof: Sequence[bytes], note: Note) -> bytes:
    """Write the body of add-checkpoint."""
    hashes = "".join(f"{base64.b64encode(node).decode()}\n" for node in proof)
    return f"old {old_size}\n{hashes}\n{note.encode()}".encode()


def read_witnesses(addresses: Iterable[tuple[str, str]], *, quorum: int) -> tuple[WitnessAddress, ...]:
    """Return witnesses from their submission prefixes and verifier keys.

    Raises:
        SetupError: a key is not a witness's, stands there twice, or the quorum can not be reached.
    """
    witnesses: list[WitnessAddress] = []
    for url, vkey in addresses:
        try:
            key = VerifierKey.parse(vkey)
        except NoteFormatError as error:
            raise SetupError(f"The verifier key of the witness at {url} is not one: {error}") from None
        if key.algorithm == ED25519 or any(other.key.public_key == key.public_key for other in witnesses):
            raise SetupError(f"The verifier key of the witness at {url} is a log's, or stands there twice.")
        witnesses.append(WitnessAddress(url, key))
    if quorum > len(witnesses):
        raise SetupError(f"A quorum of {quorum} can not be reached with {len(witnesses)} witnesses.")
    return tuple(witnesses)


def _cosignatures(content: str, key: VerifierKey, checkpoint: Checkpoint) -> tuple[SignatureLine, ...]:
    """Return the witness's own lines, checked; what else it sent is dropped."""
    lines = tuple(SignatureLine.parse(line) for line in content.removesuffix("\n").split("\n"))
    own = tuple(dict.fromkeys(line for line in lines if line.is_by(key)))
    if not Note(checkpoint, own).signers([key]):
        raise SignatureError("it sent no cosignature under its verifier key")
    return own[:1]


def _read_size(content: str) -> int:
    text = content.removesuffix("\n")
    if not text.isascii() or not text.isdigit() or str(int(text)) != text:
        raise NoteFormatError("it answered 409 without a size")
    return int(text)


def _older(witness: WitnessAddress, cosigned: int, size: int) -> LogInconsistentError:
    return LogInconsistentError(
        f"The witness {witness.key.name} cosigned {cosigned} entries of this log and the database holds {size}: "
        f"it is an old copy. Restore the newest database and the published log that goes with it. If it is the "
        f"witness that errs, take it out of the settings."
    )


def _another_history(witness: WitnessAddress, size: int) -> LogInconsistentError:
    return LogInconsistentError(
        f"The witness {witness.key.name} cosigned a longer log, or another one, than this one of {size} entries. "
        f"Database or published log are an old copy: restore the newest. If it is the witness that errs, take it "
        f"out of the settings."
    )
