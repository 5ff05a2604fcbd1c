"""Secure aggregation between brands that trust each other's enrolled keys and not the coordinator that carries it.

A run in trust mode `distributed` begins with three messages to every brand: its setup (answered by an
advertisement), all advertisements (answered by shares for every brand), and the shares for this brand. A round
then takes one message that every brand answers with a masked sum, and one, the closing, that those who arrived
answer with the shares that open it. Of the attempts at a round at most one is ever opened.
"""

from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, Field, model_validator

from consent.contract.canonical import ContractModel, Digest, Name
from consent.contract.signing import PublicKey, Signed

Bytes32 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""32 bytes in lower-case hexadecimal digits."""
Base64 = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]*={0,2}$", max_length=2_000_000)]
MIN_BRANDS, MAX_BRANDS, MAX_SLOTS = 3, 100, 4_096


class EnrolledBrand(ContractModel):
    """A brand and the key under which it is enrolled."""

    brand: Name
    key: PublicKey


class Enrolment(ContractModel):
    """The consent service's word on who is enrolled, so that nobody can invent brands to outvote the others."""

    version: Literal[1] = 1
    brands: Annotated[tuple[EnrolledBrand, ...], Field(min_length=1, max_length=1_000)]
    """By name; brands whose keys are in force at that moment."""
    log_size: Annotated[int, Field(ge=0)]
    stated_at: AwareDatetime
    not_after: AwareDatetime

    @model_validator(mode="after")
    def _brands_are_sorted(self) -> Self:
        names = [line.brand for line in self.brands]
        if names != sorted(set(names)):
            raise ValueError("brands must be distinct and in the order of their names")
        return self

    def keys(self) -> dict[str, str]:
        """Return every brand's key."""
        return {line.brand: line.key for line in self.brands}


class RunSetup(ContractModel):
    """What all brands of a run agree on before its first round; signed by the coordinator."""

    version: Literal[1] = 1
    run_id: Name
    task: Digest
    purpose: Name
    brands: Annotated[tuple[EnrolledBrand, ...], Field(min_length=MIN_BRANDS, max_length=MAX_BRANDS)]
    """Those who take part, by name."""
    dropouts: Annotated[int, Field(ge=0, lt=MAX_BRANDS)]
    """Brands that may fail in a round; as the task says."""
    colluders: Annotated[int, Field(ge=0, lt=MAX_BRANDS)]
    """Brands that may collude with the coordinator; as the task says."""
    slots: Annotated[int, Field(ge=1, le=MAX_SLOTS)]
    """Attempts at rounds that are prepared for."""
    enrolment: Signed[Enrolment]
    opened_at: AwareDatetime
    not_after: AwareDatetime
    """When brands stop answering for the run."""


class Advertisement(ContractModel):
    """A brand's public keys for a run, signed under its enrolled key."""

    version: Literal[1] = 1
    setup: Digest
    brand: Name
    box_key: Bytes32
    """X25519 key under which shares are sent to it."""
    slot_keys: Annotated[tuple[Bytes32, ...], Field(min_length=1, max_length=MAX_SLOTS)]
    """X25519 key of each slot."""
    commitments: Annotated[tuple[Bytes32, ...], Field(min_length=1, max_length=MAX_SLOTS)]
    """SHA-256 of its own seed of each slot."""


class SealedShare(ContractModel):
    """One brand's shares for another, for all slots, encrypted to it under authenticated keys."""

    setup: Digest
    sender: Name
    receiver: Name
    ciphertext: Base64


class SecureSlot(ContractModel):
    """Where in a run's secure sum an attempt at a round is masked; part of the round's manifest."""

    setup: Digest
    slot: Annotated[int, Field(ge=0, lt=MAX_SLOTS)]
    ring_bits: Literal[32, 64]
    """The sum is modulo two to that many."""


class Closing(ContractModel):
    """Whose masked sums of an attempt are opened: fixed once for a round, signed by the coordinator, logged."""

    version: Literal[1] = 1
    run_id: Name
    round: Annotated[int, Field(ge=0)]
    attempt: Annotated[int, Field(ge=0)]
    manifest: Digest
    arrived: Annotated[tuple[Name, ...], Field(min_length=2, max_length=MAX_BRANDS)]
    missing: Annotated[tuple[Name, ...], Field(max_length=MAX_BRANDS)]
    closed_at: AwareDatetime

    @model_validator(mode="after")
    def _lists_are_apart(self) -> Self:
        for names in (self.arrived, self.missing):
            if list(names) != sorted(set(names)):
                raise ValueError("brands must be distinct and in the order of their names")
        if set(self.arrived) & set(self.missing):
            raise ValueError("a brand can not both have arrived and be missing")
        return self


class Unmasking(ContractModel):
    """One brand's shares that open one attempt, signed under its enrolled key; one attempt a round."""

    version: Literal[1] = 1
    brand: Name
    manifest: Digest
    closing: Digest
    seeds: dict[Name, Bytes32]
    """Its share of the seed of every brand that arrived."""
    keys: dict[Name, Bytes32]
    """Its share of the key of every brand that is missing."""


class Abandonment(ContractModel):
    """The coordinator's word that an attempt will never be opened; signed and logged."""

    version: Literal[1] = 1
    run_id: Name
    round: Annotated[int, Field(ge=0)]
    attempt: Annotated[int, Field(ge=0)]
    manifest: Digest
    reason: Literal["too_few_brands", "timed_out", "refused", "stopped"]
    abandoned_at: AwareDatetime


class Unspent(ContractModel):
    """A brand's word that nothing left it for a round and nothing will: its reservation may be given back.

    Signed under the brand's enrolled key, once its own ledger has expired the line.
    """

    version: Literal[1] = 1
    brand: Name
    run_id: Name
    round: Annotated[int, Field(ge=0)]
    purpose: Name
    stated_at: AwareDatetime
