"""ML-DSA-44 signatures over heads, type 0x06 (C2SP tlog-cosignature; FIPS 204).

They hold also against quantum computers. A log signs as the cosigner of its own name, beside its Ed25519 line.
"""

from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

from consent.errors import NoteFormatError, SignatureError
from consent.files import write_private
from consent.keyfiles import read_key_file
from consent.log.cosignature import TIMESTAMP_BYTES, split_timestamp

LABEL = b"subtree/v1\n\0"
PUBLIC_BYTES = 1312
SIGNATURE_BYTES = 2420
MAX_NAME_BYTES = 255
MLDSA_KEY = "log-mldsa.key"


class MldsaKey:
    """An ML-DSA-44 private key, kept as its 32-byte seed."""

    def __init__(self, key: MLDSA44PrivateKey) -> None:
        self._key = key

    @classmethod
    def generate(cls) -> Self:
        """Draw a new key from the operating system's CSPRNG."""
        return cls(MLDSA44PrivateKey.generate())

    @classmethod
    def from_seed(cls, seed: bytes) -> Self:
        """Load a key from its 32-byte seed."""
        return cls(MLDSA44PrivateKey.from_seed_bytes(seed))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a key file.

        Raises:
            SetupError: it is missing, malformed, or readable by others.
        """
        return cls.from_seed(read_key_file(path, created_by="confide consent init"))

    @classmethod
    def create(cls, path: Path) -> Self:
        """Create the key file unless it is there, and read it."""
        if not path.exists():
            write_private(path, cls.generate().seed())
        return cls.load(path)

    def seed(self) -> bytes:
        """Return the seed, for a key file readable by its owner alone."""
        return self._key.private_bytes_raw()

    @property
    def public_key(self) -> bytes:
        """The public half, 1,312 bytes."""
        return self._key.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """Sign raw bytes; 2,420 bytes come back."""
        return self._key.sign(message)


def subtree_message(*, cosigner: str, timestamp: int, origin: str, size: int, root: bytes) -> bytes:
    """Return the `cosigned_message` of a whole tree: its start is 0, its end the tree's size.

    Raises:
        NoteFormatError: a name is empty or over 255 bytes.
    """
    return b"".join(
        (
            LABEL,
            _opaque(cosigner),
            timestamp.to_bytes(TIMESTAMP_BYTES, "big"),
            _opaque(origin),
            bytes(8),
            size.to_bytes(8, "big"),
            root,
        )
    )


def sign_subtree(
    key: MldsaKey, *, cosigner: str, origin: str, size: int, root: bytes, timestamp: int = 0
) -> bytes:
    """Return time and signature, 2,428 bytes; time 0 makes no statement about the longest tree."""
    message = subtree_message(cosigner=cosigner, timestamp=timestamp, origin=origin, size=size, root=root)
    return timestamp.to_bytes(TIMESTAMP_BYTES, "big") + key.sign(message)


def verify_subtree(
    public_key: bytes, signature: bytes, *, cosigner: str, origin: str, size: int, root: bytes
) -> int:
    """Return the POSIX time of a signature that fits.

    Raises:
        SignatureError: it does not fit, or has the wrong length.
    """
    timestamp, raw = split_timestamp(signature, SIGNATURE_BYTES)
    message = subtree_message(cosigner=cosigner, timestamp=timestamp, origin=origin, size=size, root=root)
    verify_message(public_key, message, raw, what="checkpoint")
    return timestamp


def verify_message(public_key: bytes, message: bytes, signature: bytes, *, what: str) -> None:
    """Check a signature over raw bytes.

    Raises:
        SignatureError: it does not fit; the sentence says of what.
    """
    try:
        MLDSA44PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        raise SignatureError(f"The ML-DSA-44 signature on a {what} does not fit its bytes.") from None


def _opaque(name: str) -> bytes:
    raw = name.encode()
    if not 1 <= len(raw) <= MAX_NAME_BYTES:
        raise NoteFormatError(f"A name that ML-DSA-44 signs holds 1 to {MAX_NAME_BYTES} bytes.")
    return bytes([len(raw)]) + raw
