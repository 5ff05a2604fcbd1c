"""Which keys sign the log's heads: one, and two while one key takes over from another."""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from consent.contract import SigningKey
from consent.contract.signing import verify_bytes
from consent.errors import LogError, SignatureError
from consent.log.mldsa import MldsaKey
from consent.log.note import ED25519, VerifierKey

ROTATED = "log_key_rotated"


@dataclass(frozen=True)
class LogKeys:
    """The keys of a log at one moment.

    Attributes:
        signing: what signs the next head, newest first.
        known: every key that may have signed the last head, retired ones included.
    """

    signing: tuple[SigningKey | MldsaKey, ...]
    known: tuple[VerifierKey, ...]


Signers = Callable[[], LogKeys]
"""Asked before every publication, so that a rotation and the end of an overlap take effect by themselves."""


def hybrid(signers: Signers, key: MldsaKey) -> Signers:
    """Have an ML-DSA-44 key sign beside whichever keys sign."""

    def both() -> LogKeys:
        keys = signers()
        return LogKeys((*keys.signing, key), keys.known)

    return both


class _Fields(BaseModel):
    model_config = ConfigDict(strict=True)

    old: str
    new: str
    overlap_until: str
    signature: str


@dataclass(frozen=True)
class RotationStatement:
    """The old key says which key comes after it."""

    old: VerifierKey
    new: VerifierKey
    overlap_until: datetime

    def message(self) -> bytes:
        """Return what the old key signs."""
        until = self.overlap_until.isoformat()
        return f"confide/v1/log-key-rotation\n{self.old.encode()}\n{self.new.encode()}\n{until}\n".encode()

    def payload(self, key: SigningKey) -> dict[str, Any]:
        """Return the content of the log entry, signed by the old key."""
        return {
            "old": self.old.encode(),
            "new": self.new.encode(),
            "overlap_until": self.overlap_until.isoformat(),
            "signature": base64.b64encode(key.sign(self.message())).decode(),
        }

    @classmethod
    def verify(cls, payload: dict[str, Any], trusted: VerifierKey) -> Self:
        """Return the statement in an entry's payload when the trusted key made it.

        Raises:
            LogError: it is not such a payload.
            SignatureError: it is about another key, or the signature does not fit.
        """
        try:
            fields = _Fields.model_validate(payload)
            statement = cls(
                VerifierKey.parse(fields.old),
                VerifierKey.parse(fields.new),
                datetime.fromisoformat(fields.overlap_until),
            )
            signature = base64.b64decode(fields.signature, validate=True)
        except (ValidationError, ValueError):
            raise LogError("An entry is not a statement about the log's next key.") from None
        if statement.old != trusted or trusted.algorithm != ED25519:
            raise SignatureError("The statement about the log's next key is not by the key that is trusted.")
        verify_bytes(
            public_key=base64.b64encode(trusted.public_key).decode(),
            message=statement.message(),
            signature=signature,
            what="statement about the log's next key",
        )
        return statement
