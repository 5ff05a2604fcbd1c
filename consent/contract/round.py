"""A round: what the coordinator asks, what each brand attests, what is released."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from consent.contract.aggregation import SecureSlot
from consent.contract.canonical import ContractModel, Digest, Name, added
from consent.contract.signing import PublicKey, Signed
from consent.contract.snapshot import SnapshotHead

Epsilon = Annotated[float, Field(ge=0)]


class Phase(StrEnum):
    """What the brands are asked to sum."""

    MARGINALS = "marginals"
    GRADIENT = "gradient"
    METRICS = "metrics"
    HISTOGRAM = "histogram"
    FEATURE_BINS = "feature_bins"

    @property
    def trains(self) -> bool:
        """Whether the sum goes into a model; other rounds are accounted for alike and leave the model as it is."""
        return self in (Phase.MARGINALS, Phase.GRADIENT)


class Mechanism(ContractModel):
    """The noise that each brand must add before anything leaves it."""

    name: Literal["grid_gaussian", "discrete_gaussian"] = "grid_gaussian"
    """The second is summed of shares, one from every brand, in trust mode `distributed`."""
    sensitivity: Annotated[float, Field(gt=0)]
    """Largest L2 change of the sum when one customer is added or removed, in units of the sum."""
    noise_multiplier: Annotated[float, Field(gt=0)]
    """Standard deviation of the noise over the sensitivity."""
    grid: Annotated[float, Field(gt=0)]
    """Step of the fixed-point grid on which sums and noise live, in units of the sum."""


class Participant(ContractModel):
    """A brand in a round: its enrolled key and the snapshot that it must train on."""

    brand: Name
    key: PublicKey
    snapshot: Signed[SnapshotHead]


class RoundManifest(ContractModel):
    """One round, signed by the coordinator before any brand computes."""

    version: Literal[1] = 1
    run_id: Name
    round: Annotated[int, Field(ge=0)]
    attempt: Annotated[int, Field(ge=0)]
    task: Digest
    purpose: Name
    phase: Phase
    model: Digest
    """Digest of the arrays that every participant is sent."""
    mechanism: Mechanism
    participants: Annotated[tuple[Participant, ...], Field(min_length=1)]
    epsilon_before: Epsilon
    epsilon_after: Epsilon
    opened_at: AwareDatetime
    not_after: AwareDatetime
    secure_sum: SecureSlot | None = added(None)
    """Where the sums are masked; None in trust mode `local`."""

    def participant(self, brand: str) -> Participant | None:
        """Return the brand's line, or None when the round does not ask it."""
        return next((line for line in self.participants if line.brand == brand), None)


class Attestation(ContractModel):
    """A brand's word for one released sum: which manifest, which snapshot, what it has spent."""

    version: Literal[1] = 1
    brand: Name
    manifest: Digest
    snapshot_root: Digest
    payload: Digest
    """Digest of the bytes that leave: the noised sum, masked in trust mode `distributed`."""
    ledger_entry: Annotated[int, Field(ge=1)]
    epsilon_spent: Epsilon
    """The brand's own ledger for this purpose after this release, at the task's delta."""
    noise: Literal["system", "seeded"]
    """Seeded noise is repeatable, so this release carries no privacy guarantee."""


class RoundRelease(ContractModel):
    """The outcome of a round, committed to the log together with the spend."""

    version: Literal[1] = 1
    run_id: Name
    round: Annotated[int, Field(ge=0)]
    task: Digest
    purpose: Name
    manifests: Annotated[tuple[Digest, ...], Field(min_length=1)]
    """Every attempt whose sums are in the aggregate, in order."""
    attestations: Annotated[tuple[Signed[Attestation], ...], Field(min_length=1)]
    aggregate: Digest
    model_before: Digest
    model_after: Digest
    state_after: Digest
    """Digest of the coordinator's whole state after the round: what a run is resumed from."""
    epsilon_spent: Epsilon
    closing: Digest | None = added(None)
    """Whose sums were opened together; None in trust mode `local`."""
    noise_shares: Annotated[float, Field(gt=0)] = added(1.0)
    """Variance of the noise in the aggregate over that of the mechanism: what it had, at least 1."""
