"""Checkpoints as signed notes with one or several signatures (C2SP signed-note and tlog-checkpoint)."""

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from consent.contract import SigningKey
from consent.contract.signing import verify_bytes
from consent.errors import NoteFormatError, SignatureError
from consent.log import mldsa
from consent.log.cosignature import sign_cosignature, verify_cosignature
from consent.log.mldsa import MldsaKey, sign_subtree, verify_subtree

ED25519 = b"\x01"
COSIGNATURE = b"\x04"
MLDSA44 = b"\x06"
KEY_BYTES = {ED25519: 32, COSIGNATURE: 32, MLDSA44: mldsa.PUBLIC_BYTES}
SIGNATURE_LINE = re.compile(r"^— ([^\s+]+) ([A-Za-z0-9+/=]+)$")
MAX_SIGNATURES = 32
KEY_ID_BYTES = 4
ROOT_BYTES = 32
NAME = re.compile(r"^[^\s+]+$")


def decode_base64(text: str) -> bytes:
    """Decode standard base64 in its one canonical spelling.

    Raises:
        NoteFormatError: it is not base64, or another spelling of the same bytes.
    """
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise NoteFormatError("A field that should be base64 is not.") from None
    if base64.b64encode(raw).decode() != text:
        raise NoteFormatError("A base64 field is not in its canonical spelling.")
    return raw


@dataclass(frozen=True)
class VerifierKey:
    """The public half of a log's or witness's key under its name, as `name+hash+key`.

    `algorithm` is the signature type: Ed25519 for logs, Ed25519 cosignatures for witnesses, ML-DSA-44 for both.
    """

    name: str
    public_key: bytes
    algorithm: bytes = ED25519

    @property
    def key_id(self) -> bytes:
        """Return SHA-256(name, newline, algorithm, key), first four bytes."""
        hashed = self.name.encode() + b"\n" + self.algorithm + self.public_key
        return hashlib.sha256(hashed).digest()[:KEY_ID_BYTES]

    def encode(self) -> str:
        """Write the vkey line."""
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(self.algorithm + self.public_key).decode()}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a vkey line.

        Raises:
            NoteFormatError: malformed, of an unknown type, or with a hash that does not fit.
        """
        name, _, rest = text.partition("+")
        key_hash, _, encoded = rest.partition("+")
        raw = decode_base64(encoded)
        algorithm = raw[:1]
        if not NAME.fullmatch(name) or KEY_BYTES.get(algorithm) != len(raw) - 1:
            raise NoteFormatError("A verifier key must read name+hash+key with an Ed25519 or ML-DSA-44 key.")
        key = cls(name=name, public_key=raw[1:], algorithm=algorithm)
        if key.key_id.hex() != key_hash:
            raise NoteFormatError("The hash in the verifier key does not fit its name and key.")
        return key


def parse_keys(text: str) -> tuple[VerifierKey, ...]:
    """Read a list of verifier keys, one a line.

    Raises:
        NoteFormatError: a line is not a key, or there is none.
    """
    keys = tuple(VerifierKey.parse(line.strip()) for line in text.splitlines() if line.strip())
    if not keys:
        raise NoteFormatError("A list of verifier keys must hold at least one.")
    return keys


@dataclass(frozen=True)
class Checkpoint:
    """The head of a log: whose, how long, and the root of its tree."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """Return the three lines that are signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the three lines; extension lines are refused.

        Raises:
            NoteFormatError: not three lines, or not in canonical spelling.
        """
        lines = text.split("\n")
        try:
            origin, size, root, end = lines
        except ValueError:
            raise NoteFormatError("A checkpoint has exactly three lines: origin, size, root.") from None
        raw = decode_base64(root)
        if end or not NAME.fullmatch(origin) or not re.fullmatch(r"0|[1-9][0-9]{0,18}", size):
            raise NoteFormatError("A checkpoint's origin or size is malformed.")
        if len(raw) != ROOT_BYTES:
            raise NoteFormatError("A checkpoint's root must be 32 bytes.")
        return cls(origin=origin, size=int(size), root=raw)


@dataclass(frozen=True)
class SignatureLine:
    """One signature of a note: who claims to have signed, under which key, and the signature's bytes."""

    name: str
    key_id: bytes
    signature: bytes

    def encode(self) -> str:
        """Write the line, with its newline."""
        return f"— {self.name} {base64.b64encode(self.key_id + self.signature).decode()}\n"

    @classmethod
    def parse(cls, line: str) -> Self:
        """Read one line, without its newline.

        Raises:
            NoteFormatError: it is not a signature line.
        """
        match = SIGNATURE_LINE.fullmatch(line)
        if match is None:
            raise NoteFormatError("A signature line must read: em dash, name, base64.")
        payload = decode_base64(match[2])
        if len(payload) <= KEY_ID_BYTES:
            raise NoteFormatError("A signature line is too short to hold a signature.")
        return cls(match[1], payload[:KEY_ID_BYTES], payload[KEY_ID_BYTES:])

    def is_by(self, key: VerifierKey) -> bool:
        """Tell whether the line claims to be by `key`; the claim is not checked here."""
        return self.name == key.name and self.key_id == key.key_id


@dataclass(frozen=True)
class Note:
    """A checkpoint with its signature lines, none of them checked."""

    checkpoint: Checkpoint
    lines: tuple[SignatureLine, ...]

    def encode(self) -> str:
        """Write the note."""
        return f"{self.checkpoint.text()}\n{''.join(line.encode() for line in self.lines)}"

    @classmethod
    def parse(cls, note: str) -> Self:
        """Read a note.

        Raises:
            NoteFormatError: it is malformed or carries over 32 signatures.
        """
        text, blank, tail = note.partition("\n\n")
        if not blank or not tail.endswith("\n"):
            raise NoteFormatError("A signed note is text, a blank line and signature lines.")
        lines = tail[:-1].split("\n")
        if len(lines) > MAX_SIGNATURES:
            raise NoteFormatError(f"A note carries at most {MAX_SIGNATURES} signatures.")
        return cls(Checkpoint.parse(text + "\n"), tuple(SignatureLine.parse(line) for line in lines))

    def signers(self, keys: Iterable[VerifierKey]) -> Mapping[VerifierKey, int | None]:
        """Return which of the keys signed, each with its cosignature's POSIX time where it has one.

        Lines of unknown keys are ignored.

        Raises:
            SignatureError: a line by one of the keys does not fit; the whole note is refused.
        """
        found: dict[VerifierKey, int | None] = {}
        for key in keys:
            for line in self.lines:
                if line.is_by(key):
                    found[key] = _VERIFIERS[key.algorithm](key, self.checkpoint, line.signature)
        return found


def verifier_key(origin: str, key: SigningKey | MldsaKey, algorithm: bytes = ED25519) -> VerifierKey:
    """Return the verifier key of a log's signing key, or of a witness's with the cosignature type."""
    if not NAME.fullmatch(origin):
        raise NoteFormatError("A log's origin is a URL without schema, spaces or plus signs.")
    if isinstance(key, MldsaKey):
        return VerifierKey(name=origin, public_key=key.public_key, algorithm=MLDSA44)
    return VerifierKey(name=origin, public_key=base64.b64decode(key.public_key), algorithm=algorithm)


def sign_line(checkpoint: Checkpoint, key: SigningKey | MldsaKey) -> SignatureLine:
    """Sign a checkpoint as its log."""
    verifier = verifier_key(checkpoint.origin, key)
    if isinstance(key, MldsaKey):
        origin = checkpoint.origin
        signature = sign_subtree(key, cosigner=origin, origin=origin, size=checkpoint.size, root=checkpoint.root)
    else:
        signature = key.sign(checkpoint.text().encode())
    return SignatureLine(verifier.name, verifier.key_id, signature)


def sign_checkpoint(checkpoint: Checkpoint, *keys: SigningKey | MldsaKey) -> str:
    """Write the signed note of a checkpoint, a signature line per key in their order."""
    return Note(checkpoint, tuple(sign_line(checkpoint, key) for key in keys)).encode()


def cosign(checkpoint: Checkpoint, *, name: str, key: SigningKey, timestamp: int) -> SignatureLine:
    """Sign a checkpoint as the witness `name` (cosignature/v1)."""
    verifier = verifier_key(name, key, COSIGNATURE)
    return SignatureLine(name, verifier.key_id, sign_cosignature(checkpoint.text(), key, timestamp))


def open_checkpoint(note: str, *keys: VerifierKey) -> Checkpoint:
    """Return the checkpoint when these keys of its log signed it.

    Of several keys, at least one of each type must have signed: old and new keys are alternatives during a
    rotation, Ed25519 and ML-DSA-44 are not. Signatures by other keys are allowed and ignored.

    Raises:
        NoteFormatError: the note is malformed.
        SignatureError: a signature is missing, or one by these keys does not fit.
    """
    parsed = Note.parse(note)
    require_log(parsed.checkpoint, parsed.signers(keys), keys)
    return parsed.checkpoint


def require_log(
    checkpoint: Checkpoint, signers: Mapping[VerifierKey, int | None], keys: Sequence[VerifierKey]
) -> None:
    """Demand, for each type among the log's keys, a signature under the checkpoint's own origin.

    Raises:
        SignatureError: one is missing.
    """
    names = sorted({key.name for key in keys if key.algorithm != COSIGNATURE})
    if checkpoint.origin not in names:
        raise SignatureError(f"The checkpoint is of {checkpoint.origin}, the verifier key of {' '.join(names)}.")
    signed = {key.algorithm for key in signers if key.name == checkpoint.origin}
    if not signed >= {key.algorithm for key in keys if key.name == checkpoint.origin} - {COSIGNATURE}:
        raise SignatureError(
            f"The checkpoint carries no signature by {checkpoint.origin} under this verifier key, "
            f"or not one of each type."
        )


def _verify_ed25519(key: VerifierKey, checkpoint: Checkpoint, signature: bytes) -> None:
    verify_bytes(
        public_key=base64.b64encode(key.public_key).decode(),
        message=checkpoint.text().encode(),
        signature=signature,
        what="checkpoint",
    )


def _verify_cosignature(key: VerifierKey, checkpoint: Checkpoint, signature: bytes) -> int:
    return verify_cosignature(checkpoint.text(), key.public_key, signature)


def _verify_mldsa(key: VerifierKey, checkpoint: Checkpoint, signature: bytes) -> int:
    return verify_subtree(
        key.public_key,
        signature,
        cosigner=key.name,
        origin=checkpoint.origin,
        size=checkpoint.size,
        root=checkpoint.root,
    )


_VERIFIERS: Mapping[bytes, Callable[[VerifierKey, Checkpoint, bytes], int | None]] = {
    ED25519: _verify_ed25519,
    COSIGNATURE: _verify_cosignature,
    MLDSA44: _verify_mldsa,
}
