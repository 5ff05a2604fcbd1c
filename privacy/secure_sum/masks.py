"""Masks: AES-256 in counter mode under a key that is used for one mask alone.

Every key is derived by HKDF-SHA-256 (RFC 5869) from 256 bits of secret, the run, the slot, and the digest of the
signed manifest: brands that were shown different manifests do not cancel each other's masks.
"""

from dataclasses import dataclass

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray

from privacy.errors import SecureSumError
from privacy.secure_sum.scheme import KEY_BYTES, Ring

LABEL = b"confide/v1/secure-sum/"


def derive(secret: bytes, run: bytes, purpose: bytes) -> bytes:
    """Return 32 bytes for one purpose."""
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=run, info=LABEL + purpose).derive(secret)


def keystream(secret: bytes, run: bytes, purpose: bytes, size: int) -> bytes:
    """Return `size` bytes for one purpose, the same ones every time."""
    return Cipher(AES(derive(secret, run, purpose)), CTR(bytes(16))).encryptor().update(bytes(size))


def agree(private: X25519PrivateKey, public: bytes) -> bytes:
    """Return the secret that two brands share.

    Raises:
        SecureSumError: the public key is of low order or no key.
    """
    try:
        return private.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        raise SecureSumError("A brand's key is not one that a secret can be agreed with.") from None


@dataclass(frozen=True)
class Place:
    """What a mask is for: it differs for every run, slot and manifest.

    Args:
        run: the run's name.
        slot: the attempt at a round.
        context: digest of the signed manifest.
        size: elements of the vector.
        ring: where it is masked.
    """

    run: bytes
    slot: int
    context: bytes
    size: int
    ring: Ring


def mask(secret: bytes, place: Place) -> NDArray[np.unsignedinteger]:
    """Return elements, shape (size,), that look uniform to whoever lacks the secret."""
    purpose = b"mask/" + place.slot.to_bytes(4, "big") + bytes([place.ring.bits]) + place.context
    stream = keystream(secret, place.run, purpose, place.size * place.ring.bits // 8)
    return np.frombuffer(stream, dtype=place.ring.type)
