"""Ed25519 signatures over contract values, each bound to what it is said for (RFC 8032)."""

import base64
import hashlib
from typing import Annotated, Generic, Self, TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import Field

from consent.contract.canonical import ContractModel
from consent.errors import SignatureError

PublicKey = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$")]
"""A raw Ed25519 public key, 32 bytes in standard base64, in its one spelling."""

Signature = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]{85}[AQgw]==$")]
"""A raw Ed25519 signature, 64 bytes in standard base64, in its one spelling."""

Body = TypeVar("Body", bound=ContractModel)


class SigningKey:
    """An Ed25519 private key; its bytes leave this object only through `private_bytes`."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    @classmethod
    def generate(cls) -> Self:
        """Draw a new key from the operating system's CSPRNG."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_private_bytes(cls, raw: bytes) -> Self:
        """Load a key from its 32 raw bytes."""
        return cls(Ed25519PrivateKey.from_private_bytes(raw))

    def private_bytes(self) -> bytes:
        """Return the 32 raw bytes, for a key file readable by its owner alone."""
        return self._key.private_bytes_raw()

    @property
    def public_key(self) -> str:
        """The public half, in base64."""
        return base64.b64encode(self._key.public_key().public_bytes_raw()).decode()

    def sign(self, message: bytes) -> bytes:
        """Sign raw bytes; 64 bytes come back."""
        return self._key.sign(message)


class Signed(ContractModel, Generic[Body]):
    """A contract value with its signer's public key and signature over the value's type and bytes."""

    body: Body
    signer: PublicKey
    signature: Signature

    @classmethod
    def seal(cls, body: Body, key: SigningKey) -> Self:
        """Sign `body` with `key`."""
        signature = key.sign(signed_bytes(body))
        return cls(body=body, signer=key.public_key, signature=base64.b64encode(signature).decode())

    def verify(self, expected_signer: str) -> Body:
        """Return the body when `expected_signer` signed it.

        Raises:
            SignatureError: another key signed, or the bytes were changed.
        """
        if self.signer != expected_signer:
            raise SignatureError(
                f"A {type(self.body).__name__} is signed by a key that is not enrolled for it "
                f"(fingerprint {fingerprint(self.signer)}); compare fingerprints with its sender."
            )
        verify_bytes(
            public_key=self.signer,
            message=signed_bytes(self.body),
            signature=base64.b64decode(self.signature),
            what=type(self.body).__name__,
        )
        return self.body


def signed_bytes(body: ContractModel) -> bytes:
    """Prefix the canonical bytes with the value's type, so that no signature fits two kinds of value."""
    return f"confide/v1/{type(body).__name__}\n".encode() + body.canonical_bytes()


def verify_bytes(*, public_key: str, message: bytes, signature: bytes, what: str) -> None:
    """Check a raw Ed25519 signature.

    Raises:
        SignatureError: the signature does not fit the key and message.
    """
    try:
        Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key)).verify(signature, message)
    except InvalidSignature:
        raise SignatureError(f"The signature on a {what} does not fit its bytes; ask for it again.") from None


def fingerprint(public_key: str) -> str:
    """Return the first 16 hex digits of the key's SHA-256, for people to compare."""
    return hashlib.sha256(base64.b64decode(public_key)).hexdigest()[:16]
