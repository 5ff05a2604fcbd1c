"""What customers can demand, and what they are answered, for both ends of the service."""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field

from consent.contract import Channel, ContractModel, Digest, LegalBasis, Name, Pseudonym, RemedyPolicy
from consent.wire import Erasure, Participation, SubjectRequest

Line = Annotated[str, Field(min_length=1, max_length=300, pattern=r"^[^\x00-\x1f\x7f]+$")]
WebAddress = Annotated[str, Field(max_length=300, pattern=r"^https://[^\s\"<>\\^`{|}]+$")]
Territory = Annotated[str, Field(pattern=r"^[A-Z]{2,3}(-[A-Z0-9]{1,3})?$")]
"""A country or part of one by its ISO 3166 code, or EU or EEA."""


class ControllerFacts(ContractModel):
    """Who answers for what a brand does with its customers' data, as its customers are told."""

    name: Line
    address: Line
    contact: Annotated[str, Field(max_length=254, pattern=r"^[^\s@<>\"]+@[^\s@<>\"]+$")]
    """An e-mail address."""
    jurisdiction: Territory
    storage_locations: Annotated[tuple[Territory, ...], Field(min_length=1, max_length=50)]
    """Where data about single customers is stored and processed, and nowhere else."""
    recipients: Annotated[tuple[Line, ...], Field(max_length=50)] = ()
    """Who receives the data beside the controller."""
    withdrawal_url: WebAddress
    rights_url: WebAddress
    authority: Line
    """The supervisory authority that takes complaints."""


class ReceiptRequest(SubjectRequest):
    """Of which consent a record or receipt is wanted, and after which profile."""

    purpose: Name
    profile: Literal["record", "record-eu-gdpr", "receipt", "receipt-eu-gdpr"] = "receipt-eu-gdpr"


class RequestKind(StrEnum):
    """What somebody asks for on behalf of a customer."""

    ACCESS = "access"
    ERASURE = "erasure"


class Verification(StrEnum):
    """How the customer's identity was verified; there is no value for not at all."""

    ACCOUNT = "account"
    CODE = "code"
    DOCUMENT = "document"
    IN_PERSON = "in_person"


class RequestState(StrEnum):
    """How far a request is."""

    PENDING = "pending"
    APPROVED = "approved"
    DONE = "done"
    REJECTED = "rejected"
    EXPIRED = "expired"


class RightsRequest(SubjectRequest):
    """A customer's request, whose identity the caller has verified."""

    kind: RequestKind
    verified_by: Verification


class RightsRequestView(ContractModel):
    """How a request stands; it never names the customer."""

    request_id: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    brand: Name
    kind: RequestKind
    state: RequestState
    verified_by: Verification
    requested_at: AwareDatetime
    expires_at: AwareDatetime
    """Until when it can be decided, and an approved copy be fetched."""
    decided_at: AwareDatetime | None = None
    log_index: int
    """The entry that tells of its present state."""
    erasure: Erasure | None = None
    """What an approved erasure destroyed."""


class RequestsView(ContractModel):
    """Requests, the newest first."""

    requests: tuple[RightsRequestView, ...]


class AccessRequest(SubjectRequest):
    """Whose statement is wanted, and of which moment."""

    request_id: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] | None = None
    """The approved request; a customer who asks for themselves needs none."""
    as_of: AwareDatetime | None = None
    """Also tell what was true at this moment."""


class Objection(SubjectRequest):
    """To which purposes a customer objects; none named means all that rest on a legitimate interest."""

    purposes: Annotated[tuple[Name, ...], Field(max_length=100)] = ()


class Withdrawn(ContractModel):
    """What a withdrawal or an objection ended; empty where nothing was left to end."""

    purposes: tuple[Name, ...]
    channels: tuple[Channel, ...]
    log_indices: tuple[int, ...]


class StatedProof(ContractModel):
    """That an entry is under the statement's checkpoint: entry and audit path in base64 (RFC 6962)."""

    log_index: int
    entry: str
    path: tuple[str, ...]


class StatedConsent(ContractModel):
    """What holds for one purpose."""

    purpose: Name
    title: str
    legal_basis: LegalBasis
    retention_days: int
    data_categories: tuple[Name, ...]
    allowed: bool
    reason: str
    since: AwareDatetime | None = None
    expires_at: AwareDatetime | None = None
    notice: Digest | None = None
    log_index: int | None = None


class StatedChannel(ContractModel):
    """Whether a customer may be reached over one channel."""

    channel: Channel
    allowed: bool
    log_index: int | None = None


class StatedNotice(ContractModel):
    """A notice that a customer was served; its text is that of whoever published it."""

    notice: Digest
    purpose: Name
    language: str
    text: str
    replaced: bool


class StatedEntry(ContractModel):
    """An entry of the log about the customer: what it says, and the line that opens its commitment."""

    log_index: int
    payload: dict[str, Any]
    opening: str


class StatedRound(ContractModel):
    """A round that could use the customer under one of their pseudonyms."""

    subject: Pseudonym
    round: Participation
    size_class: int
    """Customers in that cohort, rounded down to a power of two."""
    release_index: int | None
    """The entry that committed its outcome; None while it is reserved."""


class StatedRemedy(ContractModel):
    """What a customer's withdrawal asked of a run's models, with that of others."""

    policy: RemedyPolicy
    log_index: int
    """The entry that opened it, or stated that the bound is the answer."""
    closed_index: int | None
    """The entry that closed it, with its evidence; None while it waits for that."""
    replaced_by: Digest | None
    """The model that took the place of the run's."""


class StatedRun(ContractModel):
    """A run whose model was trained with the customer, as far as their brand took part in it."""

    run_id: Name
    purpose: Name
    task: Digest
    first_round: int
    """The first round that the customer was in."""
    models: tuple[Digest, ...]
    """What was built from that round on, the last one being the run's model."""
    policy: RemedyPolicy
    told: str
    """What the policy means."""
    remedy: StatedRemedy | None
    """None where the customer has not withdrawn since, or that was not looked at yet."""


class StatedSignal(ContractModel):
    """A preference signal that was honoured."""

    signal: str
    conflict: bool
    received_at: AwareDatetime
    log_index: int


class StatedGuardian(ContractModel):
    """That somebody answers for the customer; who, the entries say."""

    until: AwareDatetime
    log_index: int


class Moment(ContractModel):
    """What held at an earlier moment."""

    at: AwareDatetime
    consents: tuple[StatedConsent, ...]
    channels: tuple[StatedChannel, ...]


class AccessStatement(ContractModel):
    """Everything that the service holds about one customer of one brand, and what was done with it."""

    version: Literal[1] = 1
    brand: Name
    subject: Pseudonym
    made_at: AwareDatetime
    controller: ControllerFacts | None
    consents: tuple[StatedConsent, ...]
    channels: tuple[StatedChannel, ...]
    as_of: Moment | None
    notices: tuple[StatedNotice, ...]
    merged_with: tuple[Pseudonym, ...]
    guardian: StatedGuardian | None
    signals: tuple[StatedSignal, ...]
    pending_confirmations: int
    rounds: tuple[StatedRound, ...]
    runs: tuple[StatedRun, ...]
    entries: tuple[StatedEntry, ...]
    """The whole history, in the order of the log."""
    decisions: str
    remedy: str
    after_withdrawal: tuple[str, ...]
    after_erasure: tuple[str, ...]
    """What remains, and that nothing beyond it is claimed."""
    checkpoint: str
    """The signed head that all proofs are for."""
    proofs: tuple[StatedProof, ...]
