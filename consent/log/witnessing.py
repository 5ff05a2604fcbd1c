"""The log's side of tlog-witness: a head is shown to witnesses before it is published.

A head that does not reach its quorum is not published; a witness that saw a longer or another log than this
one stops publication, for then the database or the folder is an old copy, or somebody forked the log.
"""

import base64
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

TIMEOUT = 5.0
MAX_ANSWER_BYTES = 64 * 1024
MAX_ATTEMPTS = 3
SIZE_TYPE = "text/x.tlog.size"
OK, CONFLICT, UNPROCESSABLE = 200, 409, 422

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
    """

    def __init__(
        self,
        witnesses: Sequence[WitnessAddress],
        *,
        quorum: int,
        http: httpx.Client,
        source: Source,
        on_refusal: Refused,
    ) -> None:
        self._witnesses = tuple(witnesses)
        self._quorum = quorum
        self._http = http
        self._source = source
        self._on_refusal = on_refusal
        self._cosigned: dict[VerifierKey, int] = {}

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

    def _ask(self, witness: WitnessAddress, note: Note, tree: TileTree) -> tuple[SignatureLine, ...]:
        try:
            return self._submit(witness, note, tree)
        except LogInconsistentError:
            raise
        except (ConsentError, httpx.HTTPError) as error:
            reason = str(error) if isinstance(error, ConsentError) else type(error).__name__
            self._on_refusal(witness.key.name, reason)
            return ()

    def _submit(self, witness: WitnessAddress, note: Note, tree: TileTree) -> tuple[SignatureLine, ...]:
        old = min(self._cosigned.get(witness.key, 0), tree.size)
        for _ in range(MAX_ATTEMPTS):
            status, kind, content = self._post(witness, submission(old, tree.consistency(old), note))
            if status == OK:
                lines = _cosignatures(content, witness.key, note.checkpoint)
                self._cosigned[witness.key] = tree.size
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

    def _post(self, witness: WitnessAddress, body: bytes) -> tuple[int, str, str]:
        url = f"{witness.url.rstrip('/')}/add-checkpoint"
        with self._http.stream("POST", url, content=body, timeout=TIMEOUT) as response:
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


def _another_history(witness: WitnessAddress, size: int) -> LogInconsistentError:
    return LogInconsistentError(
        f"The witness {witness.key.name} cosigned a longer log, or another one, than this one of {size} entries. "
        f"Database or published log are an old copy: restore the newest. If it is the witness that errs, take it "
        f"out of the settings."
    )
