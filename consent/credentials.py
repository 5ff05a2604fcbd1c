"""API keys and customers' tokens as their makers ask for them, for both ends of the service."""

from typing import Annotated

from pydantic import AwareDatetime, Field

from consent.contract import ContractModel, Name, Pseudonym
from consent.wire import SubjectRequest

MAX_KEY_DAYS = 366
MAX_SCOPES = 64
MAX_SUBJECT_MINUTES = 60
Scope = Annotated[str, Field(pattern=r"^[a-z]{3,6}:[a-z0-9/.-]{1,60}$")]
"""A method and a path under /v1/ without its parameters: `post:choices`, `get:brands/coverage`."""
KeyId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
TokenId = KeyId


class ApiKeyRequest(ContractModel):
    """A key to make for a program: it may do what its scopes name, and no more than its maker may."""

    label: Name
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1, max_length=MAX_SCOPES)]
    days: Annotated[int, Field(ge=1, le=MAX_KEY_DAYS)]
    """After so many days it ends, and never later than the token of its maker."""


class ApiKeyView(ContractModel):
    """A key as it is listed; the key itself is shown when it is made, and never again."""

    key_id: KeyId
    label: Name
    scopes: tuple[Scope, ...]
    expires_at: AwareDatetime
    last_used_on: str | None
    """The day, in UTC."""
    revoked: bool


class NewApiKey(ContractModel):
    """A new key, shown this once."""

    key: str
    view: ApiKeyView


class ApiKeyList(ContractModel):
    """The caller's keys, or all of a brand's for its admin."""

    keys: tuple[ApiKeyView, ...]


class ApiKeyRevocation(ContractModel):
    """The key that shall end now."""

    key_id: KeyId


class SubjectTokenRequest(ContractModel):
    """A customer whose identity was verified, and for how long they may act for themselves."""

    brand: Name
    subject: Pseudonym
    verified_by: Name
    """How the identity was verified: `account_login`, `letter`."""
    minutes: Annotated[int, Field(ge=1, le=MAX_SUBJECT_MINUTES)] = 15


class SubjectToken(ContractModel):
    """A token for one customer, shown this once."""

    token: str
    token_id: TokenId
    """By which the token can be ended."""
    expires_at: AwareDatetime


class SubjectTokenRevocation(SubjectRequest):
    """Whose tokens shall end now."""

    token_id: TokenId | None = None
    """The one token that shall end; without it, all of the customer's end."""
