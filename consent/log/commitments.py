"""What a leaf is: a salted commitment to a payload that stays with the consent service.

Entry = 0x01 || SHA-256(salt || RFC 8785 payload). Without the 16 random bytes of salt, a payload can not be
guessed from its leaf; with salt and payload destroyed, every proof over the leaf still holds. What opens an
entry is kept as one line: in clear, sealed under the key of the customer that it is about, or erased.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from json.encoder import encode_basestring
from typing import Any, Literal, Protocol, Self, TypeVar

import rfc8785
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from consent.contract import canonical_json
from consent.errors import LogError

VERSION = b"\x01"
SALT_BYTES = 16
SEALED_LINE = re.compile(rb'\{"index":[0-9]+,"key":')


def commit(salt: bytes, payload: bytes) -> bytes:
    """Return the 33 bytes of an entry for a canonical payload."""
    return VERSION + hashlib.sha256(salt + payload).digest()


def canonical_payload(payload: Mapping[str, Any]) -> bytes:
    """Encode as RFC 8785; a shorter way gives the same bytes where values are strings, small integers or booleans.

    Raises:
        rfc8785.CanonicalizationError: the payload is not JSON.
    """
    fields = []
    for name, value in sorted(payload.items()):
        if type(value) is str:
            fields.append(f"{encode_basestring(name)}:{encode_basestring(value)}")
        elif type(value) is int:
            fields.append(f"{encode_basestring(name)}:{value}")
        elif type(value) is bool:
            fields.append(f"{encode_basestring(name)}:{'true' if value else 'false'}")
        else:
            return canonical_json(payload)
    return f"{{{','.join(fields)}}}".encode()


class _HasLine(Protocol):
    def line(self) -> bytes: ...


_Spelled = TypeVar("_Spelled", bound=_HasLine)


class _Line(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    index: int = Field(ge=0)
    salt: str = Field(pattern=r"^([0-9a-f]{2}){16,32}$")
    payload: dict[str, Any]


class _SealedLine(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    index: int = Field(ge=0)
    key: int = Field(ge=0)
    sealed: str


class _ErasedLine(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    erased: Literal[True]
    index: int = Field(ge=0)


@dataclass(frozen=True)
class Opening:
    """What opens one entry: its index in the log, the salt and the canonical payload."""

    index: int
    salt: bytes
    payload: bytes

    def opens(self, entry: bytes) -> bool:
        """Tell whether this is what the entry commits to."""
        return hmac.compare_digest(commit(self.salt, self.payload), entry)

    def line(self) -> bytes:
        """Write the opening as one canonical JSON line, without its newline."""
        return b'{"index":%d,"payload":%s,"salt":"%s"}' % (
            self.index,
            self.payload,
            self.salt.hex().encode(),
        )

    @classmethod
    def parse(cls, line: bytes) -> Self:
        """Read one line in its one canonical spelling.

        Raises:
            LogError: it is not such a line.
        """
        try:
            fields = _Line.model_validate_json(line)
            opening = cls(fields.index, bytes.fromhex(fields.salt), canonical_payload(fields.payload))
        except (ValidationError, rfc8785.CanonicalizationError):
            raise LogError("An opening is not a line with index, payload and salt.") from None
        return _canonical(opening, line)


@dataclass(frozen=True)
class SealedOpening:
    """An opening encrypted under the data key of the customer that the entry is about."""

    index: int
    key_id: int
    ciphertext: bytes

    def line(self) -> bytes:
        """Write it as one canonical JSON line, without its newline."""
        return b'{"index":%d,"key":%d,"sealed":"%s"}' % (
            self.index,
            self.key_id,
            base64.b64encode(self.ciphertext),
        )

    @classmethod
    def parse(cls, line: bytes) -> Self:
        """Read one line; raises as `Opening.parse` does."""
        try:
            fields = _SealedLine.model_validate_json(line)
            sealed = cls(fields.index, fields.key, base64.b64decode(fields.sealed, validate=True))
        except (ValidationError, binascii.Error, ValueError):
            raise LogError("A sealed opening is not a line with index, key and ciphertext.") from None
        return _canonical(sealed, line)


@dataclass(frozen=True)
class ErasedOpening:
    """What is left of an opening whose salt and payload were destroyed."""

    index: int

    def line(self) -> bytes:
        """Write it as one canonical JSON line, without its newline."""
        return b'{"erased":true,"index":%d}' % self.index

    @classmethod
    def parse(cls, line: bytes) -> Self:
        """Read one line; raises as `Opening.parse` does."""
        try:
            erased = cls(_ErasedLine.model_validate_json(line).index)
        except ValidationError:
            raise LogError("An erased opening is not a line with its index.") from None
        return _canonical(erased, line)


AnyOpening = Opening | SealedOpening | ErasedOpening


def parse_opening(line: bytes) -> AnyOpening:
    """Read one line of any of the three kinds.

    Raises:
        LogError: it is none of them, or not in its one canonical spelling.
    """
    if line.startswith(b'{"erased":'):
        return ErasedOpening.parse(line)
    if SEALED_LINE.match(line):
        return SealedOpening.parse(line)
    return Opening.parse(line)


def _canonical(opening: _Spelled, line: bytes) -> _Spelled:
    if opening.line() != line:
        raise LogError("An opening is not in its canonical spelling.")
    return opening
