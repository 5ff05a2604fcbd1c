"""Checkpoints as signed notes with Ed25519 (C2SP signed-note and tlog-checkpoint)."""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import Self

from consent.contract import SigningKey
from consent.contract.signing import verify_bytes
from consent.errors import NoteFormatError, SignatureError

ED25519 = b"\x01"
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
    """The public half of a log's key under the log's name, as `name+hash+key`."""

    name: str
    public_key: bytes

    @property
    def key_id(self) -> bytes:
        """Return SHA-256(name, newline, algorithm, key), first four bytes."""
        return hashlib.sha256(self.name.encode() + b"\n" + ED25519 + self.public_key).digest()[:KEY_ID_BYTES]

    def encode(self) -> str:
        """Write the vkey line."""
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(ED25519 + self.public_key).decode()}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a vkey line.

        Raises:
            NoteFormatError: malformed, not Ed25519, or with a hash that does not fit.
        """
        name, _, rest = text.partition("+")
        key_hash, _, encoded = rest.partition("+")
        raw = decode_base64(encoded)
        if not NAME.fullmatch(name) or raw[:1] != ED25519 or len(raw) != 1 + ROOT_BYTES:
            raise NoteFormatError("A verifier key must read name+hash+key with an Ed25519 key.")
        key = cls(name=name, public_key=raw[1:])
        if key.key_id.hex() != key_hash:
            raise NoteFormatError("The hash in the verifier key does not fit its name and key.")
        return key


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
        """Read the three lines.

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


def verifier_key(origin: str, key: SigningKey) -> VerifierKey:
    """Return the verifier key of a log's signing key."""
    if not NAME.fullmatch(origin):
        raise NoteFormatError("A log's origin is a URL without schema, spaces or plus signs.")
    return VerifierKey(name=origin, public_key=base64.b64decode(key.public_key))


def sign_checkpoint(checkpoint: Checkpoint, key: SigningKey) -> str:
    """Write the signed note of a checkpoint."""
    verifier = verifier_key(checkpoint.origin, key)
    signature = key.sign(checkpoint.text().encode())
    payload = base64.b64encode(verifier.key_id + signature).decode()
    return f"{checkpoint.text()}\n— {verifier.name} {payload}\n"


def open_checkpoint(note: str, key: VerifierKey) -> Checkpoint:
    """Return the checkpoint when `key` signed it; other signatures are allowed and ignored.

    Raises:
        NoteFormatError: the note is malformed.
        SignatureError: no signature by `key`, or one that does not fit.
    """
    text, blank, tail = note.partition("\n\n")
    if not blank or not tail.endswith("\n"):
        raise NoteFormatError("A signed note is text, a blank line and signature lines.")
    lines = tail[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise NoteFormatError(f"A note carries at most {MAX_SIGNATURES} signatures.")
    checkpoint = Checkpoint.parse(text + "\n")
    if checkpoint.origin != key.name:
        raise SignatureError(f"The checkpoint is of {checkpoint.origin}, the verifier key of {key.name}.")
    signatures = [payload for name, payload in map(_signature_line, lines) if _is_by(key, name, payload)]
    if not signatures:
        raise SignatureError(f"The checkpoint carries no signature by {key.name} under this verifier key.")
    for payload in signatures:
        verify_bytes(
            public_key=base64.b64encode(key.public_key).decode(),
            message=checkpoint.text().encode(),
            signature=payload[KEY_ID_BYTES:],
            what="checkpoint",
        )
    return checkpoint


def _signature_line(line: str) -> tuple[str, bytes]:
    match = SIGNATURE_LINE.fullmatch(line)
    if match is None:
        raise NoteFormatError("A signature line must read: em dash, name, base64.")
    payload = decode_base64(match[2])
    if len(payload) <= KEY_ID_BYTES:
        raise NoteFormatError("A signature line is too short to hold a signature.")
    return match[1], payload


def _is_by(key: VerifierKey, name: str, payload: bytes) -> bool:
    return name == key.name and payload[:KEY_ID_BYTES] == key.key_id
