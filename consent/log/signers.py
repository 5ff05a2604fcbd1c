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
from consent.log.mldsa import MldsaKey, verify_message
from consent.log.note import ED25519, MLDSA44, VerifierKey

ROTATED = "log_key_rotated"
LogKey = SigningKey | MldsaKey


@dataclass(frozen=True)
class LogKeys:
    """The keys of a log at one moment.

    Attributes:
        signing: what signs the next head, newest first.
        known: every Ed25519 key that may have signed the last head, retired ones included.
    """

    signing: tuple[LogKey, ...]
    known: tuple[VerifierKey, ...]


Signers = Callable[[], LogKeys]
"""Asked before every publication, so that a rotation and the end of an overlap take effect by themselves."""


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

    def payload(self, key: LogKey) -> dict[str, Any]:
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
        same_kind = statement.new.algorithm == trusted.algorithm and trusted.algorithm in (ED25519, MLDSA44)
        if statement.old != trusted or not same_kind:
            raise SignatureError("The statement about the log's next key is not by the key that is trusted.")
        statement._verify(signature)
        return statement

    def _verify(self, signature: bytes) -> None:
        what = "statement about the log's next key"
        if self.old.algorithm == MLDSA44:
            verify_message(self.old.public_key, self.message(), signature, what=what)
            return
        public_key = base64.b64encode(self.old.public_key).decode()
        verify_bytes(public_key=public_key, message=self.message(), signature=signature, what=what)
