"""Requests and answers of the consent service that are not contract values, for both of its ends."""

from enum import StrEnum
from typing import Annotated

from pydantic import AwareDatetime, Field

from consent.answers import AnswersReceipt
from consent.contract import (
    Abandonment,
    Choice,
    Closing,
    ContractModel,
    Decision,
    DecisionQuery,
    Digest,
    Name,
    Phase,
    Pseudonym,
    PublicKey,
    RemedyPolicy,
    RoundManifest,
    RoundRelease,
    RunSetup,
    Signed,
    SnapshotHead,
    TaskSpec,
)

MAX_BATCH = 5_000
MAX_TOKEN_DAYS = 400
MAX_PAGE = 100
"""Items of one page of a list that goes on in the order of the log."""
Place = Annotated[int, Field(ge=0, le=2**53)]
"""Index of the entry that tells of an item, after which a page begins."""


class Role(StrEnum):
    """What a principal may do; everything else is refused."""

    OPERATOR = "operator"
    """Enrols principals and declares purposes; trusted with who may call, and with no customer's data."""
    OFFICER = "officer"
    AUDITOR = "auditor"
    """Reads the log, runs and budgets, and changes nothing; no customer's entries are opened for them."""
    COORDINATOR = "coordinator"
    BRAND = "brand"
    """A brand's agent, which signs; its name is the brand's."""
    BRAND_ADMIN = "brand_admin"
    """A person of one brand, or several: keys, webhooks, requests, coverage and budgets."""
    SUBJECT = "subject"
    """One customer of one brand, by a token that the brand had made; they are never enrolled."""


class Enrolment(ContractModel):
    """A principal to enrol; a brand and a coordinator sign, so they bring a public key."""

    role: Role
    name: Name
    public_key: PublicKey | None = None
    brand: Name | None = None
    """Whose admin a brand admin is; every other role leaves it out."""
    days: Annotated[int, Field(ge=1, le=MAX_TOKEN_DAYS)] = MAX_TOKEN_DAYS
    """After so many days the token ends; enrolling again gives a new one."""


class EnrolledToken(ContractModel):
    """The bearer token of a new principal, shown this once."""

    token: str
    expires_at: AwareDatetime | None = None
    """None for operators, whose token lies beside the service's keys."""


class PublishedNotice(ContractModel):
    """The hash by which grants name the notice."""

    notice: Digest


class Approval(ContractModel):
    """A task that brands may be asked for, and what each of their customers may spend on its purpose."""

    task: TaskSpec
    ceiling: Annotated[float, Field(gt=0, le=100)]
    brands: Annotated[tuple[Name, ...], Field(min_length=1, max_length=1_000)]
    remedy: RemedyPolicy | None = None
    """What follows for its models when customers withdraw; without it, as was chosen before, or `bound`."""


class ChoiceBatch(ContractModel):
    """Choices that are recorded together or not at all, once per idempotency key."""

    idempotency_key: Annotated[str, Field(min_length=1, max_length=128)]
    choices: Annotated[tuple[Choice, ...], Field(min_length=1, max_length=MAX_BATCH)]


class Merge(ContractModel):
    """Two pseudonyms of one brand that are one customer."""

    brand: Name
    subject: Pseudonym
    other: Pseudonym


class GuardianRecord(ContractModel):
    """Who answers for a customer, and until when; the customer's age is never told."""

    brand: Name
    subject: Pseudonym
    guardian: Pseudonym
    until: AwareDatetime


class ConfirmationToken(ContractModel):
    """What a customer confirms a grant with; shown this once."""

    token: str
    expires_at: AwareDatetime


class Confirmation(ContractModel):
    """The token that a customer brought back."""

    token: Annotated[str, Field(min_length=16, max_length=128)]


class RecordedChoices(ContractModel):
    """The log index of each choice, in order."""

    log_indices: tuple[int, ...]


class DecisionBatch(ContractModel):
    """Questions, answered in order."""

    queries: Annotated[tuple[DecisionQuery, ...], Field(min_length=1, max_length=MAX_BATCH)]


class Decisions(ContractModel):
    """Answers, in the order of the questions."""

    decisions: tuple[Decision, ...]
    receipt: AnswersReceipt
    """With which each answer can be proven to have been given."""


class SealRequest(ContractModel):
    """Brands whose opted-in customers for a purpose are to be sealed."""

    purpose: Name
    brands: Annotated[tuple[Name, ...], Field(min_length=1, max_length=1_000)]


class SealedSnapshots(ContractModel):
    """Heads, in the order of the brands asked for."""

    heads: tuple[Signed[SnapshotHead], ...]


class SnapshotRequest(ContractModel):
    """The purpose for which a brand asks who may be used."""

    purpose: Name


class SnapshotProofRequest(ContractModel):
    """The customer of whom it is asked whether they are under their brand's snapshot."""

    brand: Name
    purpose: Name
    subject: Pseudonym


class SnapshotView(ContractModel):
    """A brand's own current snapshot: the signed head and the sorted pseudonyms under it."""

    head: Signed[SnapshotHead]
    members: tuple[Pseudonym, ...]


class ConsistencyView(ContractModel):
    """That a longer log extends a shorter one: hashes in base64, and the head they were computed under."""

    old_size: int
    new_size: int
    hashes: tuple[str, ...]
    checkpoint: str


class RunRecord(ContractModel):
    """Everything that was permitted and released for one run, in the order of the log."""

    manifests: tuple[Signed[RoundManifest], ...]
    releases: tuple[Signed[RoundRelease], ...]
    setup: Signed[RunSetup] | None = None
    """What its brands agreed on; None in trust mode `local`."""
    closings: tuple[Signed[Closing], ...] = ()
    abandonments: tuple[Signed[Abandonment], ...] = ()


class RunPage(RunRecord):
    """A part of a run's record: what the log tells of it, from one entry on."""

    cursor: Place | None
    """After which entry to go on; None at the end."""


class PurposeCoverage(ContractModel):
    """For how many of a brand's known customers a purpose holds, does not, or was never asked for."""

    purpose: Name
    granted: int
    """Whose yes holds now."""
    lapsed: int
    """Whose yes ended, was given under a notice that is replaced, or is merged with one that holds less."""
    withdrawn: int
    never_asked: int


class CoverageView(ContractModel):
    """Coverage of every declared purpose."""

    purposes: tuple[PurposeCoverage, ...]


class Budget(ContractModel):
    """What one customer of a brand has spent on a purpose; epsilons are at `delta`."""

    brand: Name
    purpose: Name
    delta: float
    ceiling: float
    spent: float
    """Epsilon of all released rounds together."""
    reserved: float
    """Epsilon of all released and reserved rounds together, less `spent`."""
    noise_multiplier: float | None
    """The one Gaussian release that equals all rounds, reserved ones included; None before the first."""
    by_brands: tuple[float, ...] = ()
    """Epsilon of all rounds, reserved ones included, for a customer who is at 1, 2 ... brands, up to as many as a
    task says that one may be at."""
    last_line: int | None = None
    """The entry of the log that reserved the last round that counts."""


class BudgetsView(ContractModel):
    """A brand's budgets, by purpose."""

    budgets: tuple[Budget, ...]


class SubjectRequest(ContractModel):
    """One customer of one brand; always in a body, never in an address."""

    brand: Name
    subject: Pseudonym


class Participation(ContractModel):
    """A round in which a customer was in the snapshot that their brand used."""

    run_id: Name
    round: int
    purpose: Name
    released: bool
    """False while the round is only reserved, which counts as spent."""
    kind: Phase
    """What the round asked for."""
    epsilon: float
    """Bound of this round alone, at its task's delta."""
    epsilon_so_far: float
    """Bound of this customer's rounds for the purpose up to and including this one."""
    by_brands: tuple[float, ...]
    """The same for a customer who is at 1, 2 ... brands, up to as many as a task says that one may be at."""
    model: Digest | None
    """The model that the round's release made, or left as it was; None while there is none."""
    log_index: int
    """The log entry that opened the round."""


class ParticipationRequest(SubjectRequest):
    """The customer whose rounds are wanted, and which page of them."""

    after: Place | None = None
    """The `cursor` of the page before."""
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = MAX_PAGE


class ParticipationPage(ContractModel):
    """Rounds, in the order of the log."""

    rounds: tuple[Participation, ...]
    cursor: Place | None
    """After which entry to go on; None at the end."""


class Erasure(ContractModel):
    """What an erasure destroyed; the numbers are zero where there was nothing, or no longer."""

    log_index: int | None
    """The log entry that says so, without naming the customer."""
    entries: int
    """Log entries that nobody can open any more; their leaf hashes remain."""
    choices: int
    rounds: int
    """Rounds that could use the customer: what they released is noised statistics, and remains."""
    scrubbed: bool
    """Whether every file is rewritten; if not, `confide consent scrub` does it."""


class ServiceKeys(ContractModel):
    """The public keys of the service: of snapshot heads, and of the log's checkpoints."""

    snapshots: PublicKey
    log: str
