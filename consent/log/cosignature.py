"""Cosignatures of witnesses with Ed25519, type 0x04 (C2SP tlog-cosignature, cosignature/v1).

A cosignature says: at this time, this was the longest consistent tree of that log that the witness had seen.
"""

import base64

from consent.contract import SigningKey
from consent.contract.signing import verify_bytes
from consent.errors import SignatureError

TIMESTAMP_BYTES = 8
ED25519_BYTES = 64
MAX_TIMESTAMP = 2**63 - 1


def cosignature_message(text: str, timestamp: int) -> bytes:
    """Return what is signed: header line, time line, and the checkpoint's own lines."""
    return f"cosignature/v1\ntime {timestamp}\n{text}".encode()


def sign_cosignature(text: str, key: SigningKey, timestamp: int) -> bytes:
    """Return the 72 bytes of a cosignature: POSIX time as a big-endian 64-bit number, then the signature."""
    return timestamp.to_bytes(TIMESTAMP_BYTES, "big") + key.sign(cosignature_message(text, timestamp))


def verify_cosignature(text: str, public_key: bytes, signature: bytes) -> int:
    """Return the POSIX time of a cosignature that fits.

    Raises:
        SignatureError: it does not fit, or has the wrong length.
    """
    timestamp, raw = split_timestamp(signature, ED25519_BYTES)
    verify_bytes(
        public_key=base64.b64encode(public_key).decode(),
        message=cosignature_message(text, timestamp),
        signature=raw,
        what="cosignature",
    )
    return timestamp


def split_timestamp(signature: bytes, length: int) -> tuple[int, bytes]:
    """Split a `timestamped_signature` into time and signature of `length` bytes.

    Raises:
        SignatureError: the length is another, or the time is over 2^63 - 1.
    """
    timestamp = int.from_bytes(signature[:TIMESTAMP_BYTES], "big")
    if len(signature) != TIMESTAMP_BYTES + length or timestamp > MAX_TIMESTAMP:
        raise SignatureError("A cosignature has the wrong length or a time that can not be.")
    return timestamp, signature[TIMESTAMP_BYTES:]
