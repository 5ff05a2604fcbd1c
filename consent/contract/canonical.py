"""Canonical bytes of contract values: RFC 8785 (JSON Canonicalization Scheme) and SHA-256 over them."""

import hashlib
from typing import Annotated, Any

import rfc8785
from pydantic import BaseModel, ConfigDict, Field

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""A SHA-256 as 64 lower-case hexadecimal digits."""

Pseudonym = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""A customer at one brand: HMAC-SHA-256 under that brand's key, 64 lower-case hexadecimal digits."""

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$")]
"""A brand, purpose, task or run: lower-case letters, digits, dot, dash and underscore, at most 64."""


def added(default: Any) -> Any:  # noqa: ANN401 - as pydantic's own Field
    """Return a field that came to a model later: at its default it is left out, so that old digests stay."""
    return Field(default=default, exclude_if=lambda value: value == default)


class ContractModel(BaseModel):
    """Base of everything the two sides sign: frozen, no unknown fields, one canonical encoding."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def canonical_bytes(self) -> bytes:
        """Return the RFC 8785 encoding; equal values give equal bytes on every machine."""
        return canonical_json(self.model_dump(mode="json"))

    def digest(self) -> str:
        """Return the SHA-256 of the canonical bytes, in lower-case hex."""
        return hashlib.sha256(self.canonical_bytes()).hexdigest()


def canonical_json(value: Any) -> bytes:  # noqa: ANN401 - JSON is any of six types, nested
    """Encode a JSON value as RFC 8785 prescribes.

    Raises:
        rfc8785.CanonicalizationError: the value is not JSON, or holds an integer beyond 2**53 or a
            number that is not finite.
    """
    return rfc8785.dumps(value)
