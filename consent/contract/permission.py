"""What people said: purposes, notices, and the choices of customers, as the service takes them in."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from consent.contract.canonical import ContractModel, Digest, Name, Pseudonym


class LegalBasis(StrEnum):
    """The ground under Article 6 GDPR on which a purpose rests."""

    CONSENT = "consent"
    CONTRACT = "contract"
    LEGITIMATE_INTEREST = "legitimate_interest"


class Channel(StrEnum):
    """A way to reach a customer; preferences for channels are kept apart from purposes."""

    EMAIL = "email"
    SMS = "sms"
    PUSH = "push"
    IN_APP = "in_app"
    ADS = "ads"


class Purpose(ContractModel):
    """A purpose of use, declared before anything may rest on it."""

    purpose: Name
    title: Annotated[str, Field(min_length=1, max_length=200)]
    legal_basis: LegalBasis
    data_categories: Annotated[tuple[Name, ...], Field(min_length=1)]
    retention_days: Annotated[int, Field(ge=1)]
    task_families: tuple[Name, ...] = ("propensity",)
    """What may be learned under the purpose; a task of another family is not approved for it."""
    special_category: bool = False
    """Whether it uses data of Article 9 GDPR: a grant has to be explicit and about this purpose alone."""
    consent_days: Annotated[int, Field(ge=1, le=3_650)] | None = None
    """How long a grant holds; None while nothing changes."""
    double_opt_in: bool = False
    """Whether a grant counts only once the customer confirmed it."""


class Notice(ContractModel):
    """The exact text that a customer was served, identified by its hash."""

    purpose: Name
    language: Annotated[str, Field(pattern=r"^[a-z]{2}(-[A-Z]{2})?$")]
    text: Annotated[str, Field(min_length=1, max_length=20_000)]
    replaces: Digest | None = None
    """The notice of the same purpose and language that is served no longer."""
    material: bool = True
    """Whether it says something else than the one it replaces: who agreed to that one has to be asked again."""


class Act(StrEnum):
    """What a customer does to a purpose or a channel."""

    GRANT = "grant"
    WITHDRAW = "withdraw"


class Choice(ContractModel):
    """One act of one customer on one purpose, or on one channel when `channel` is set."""

    brand: Name
    subject: Pseudonym
    act: Act
    purpose: Name | None = None
    channel: Channel | None = None
    notice: Digest | None = None
    """Hash of the notice served; a grant of a purpose must name it."""
    method: Literal["form", "app", "import", "support", "signal"] = "form"
    collection_point: Name | None = None
    """Where it was collected: a form, a till, an app."""
    explicit: bool = False
    """Whether the customer stated it for this purpose alone, as special categories demand."""
    guardian: Pseudonym | None = None
    """Who granted for a customer that has a guardian."""
    expires_at: AwareDatetime | None = None
    """When a grant ends, if earlier than its purpose says."""
    claimed_at: AwareDatetime | None = None
    """When the client says it happened: a claim; the service's own clock decides."""


class DecisionQuery(ContractModel):
    """May `purpose` be done for `subject` over `channel` now?"""

    brand: Name
    subject: Pseudonym
    purpose: Name
    channel: Channel | None = None


class DecisionReason(StrEnum):
    """Why a decision came out as it did."""

    GRANTED = "granted"
    NO_GRANT = "no_grant"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"
    NOTICE_CHANGED = "notice_changed"
    CHANNEL_NOT_ALLOWED = "channel_not_allowed"
    UNKNOWN_PURPOSE = "unknown_purpose"


class Decision(ContractModel):
    """The service's answer, with the log position that it stands on."""

    allowed: bool
    reason: DecisionReason
    log_index: int | None = None
    """Index of the grant that allows it, or of the act that does not."""
    notice: Digest | None = None
    """The notice under which it was granted."""
    log_size: int = 0
    """Size of the log that the answer stands on."""
