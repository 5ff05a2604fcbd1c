"""What a receipt is made from."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from consent.contract import Act, Purpose
from consent.rights import ControllerFacts


class Profile(StrEnum):
    """The four profiles of the guide, each by the fragment of its IRI."""

    RECORD = "record"
    RECORD_EU_GDPR = "record-eu-gdpr"
    RECEIPT = "receipt"
    RECEIPT_EU_GDPR = "receipt-eu-gdpr"

    @property
    def is_receipt(self) -> bool:
        """Whether the record is wrapped into a receipt."""
        return self in (Profile.RECEIPT, Profile.RECEIPT_EU_GDPR)

    @property
    def eu_gdpr(self) -> bool:
        """Whether it says what the GDPR demands on top."""
        return self in (Profile.RECORD_EU_GDPR, Profile.RECEIPT_EU_GDPR)


@dataclass(frozen=True)
class NoticeFacts:
    """The notice that a grant was given under."""

    digest: str
    language: str
    text: str
    published_at: datetime


@dataclass(frozen=True)
class ActOfConsent:
    """One grant or withdrawal of a customer, in the order of the log."""

    act: Act
    recorded_at: datetime
    log_index: int
    method: str
    took_effect: bool
    """False for a grant that a withdrawal of the same moment, or of a later one, wins over."""
    explicit: bool = False
    collection_point: str | None = None
    guardian: bool = False
    """Whether the customer's guardian spoke for them."""
    expires_at: datetime | None = None


@dataclass(frozen=True)
class Evidence:
    """What shows that an entry is in the log: its opening, and the `.tlog-proof` file."""

    log_index: int
    opening: str
    """One line with index, payload and salt, from which the leaf can be computed."""
    proof: str


@dataclass(frozen=True)
class ConsentFacts:
    """Everything about one customer's consent to one purpose at one brand."""

    brand: str
    subject: str
    purpose: Purpose
    controller: ControllerFacts
    notice: NoticeFacts
    acts: tuple[ActOfConsent, ...]
    lapsed: str | None
    """`expired` or `notice_changed` where the grant holds no longer although nobody withdrew it."""
    lapsed_at: datetime | None
    record_id: str
    receipt_id: str
    created_at: datetime
    evidence: tuple[Evidence, ...]
