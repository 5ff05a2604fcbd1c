"""What a simulated federation ends in: plain values that tables, reports and JSON are made of.

Everything here is seen by the laboratory alone, which holds all brands' data and their ground truth. No
deployed part reports these numbers: an AUC, a count or a lift computed on customers would be a release.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class RoundPoint:
    """One released round.

    Attributes:
        round: its number, 0 for the marginals.
        epsilon: spent by each customer so far.
        auc: of the model so far on held-out customers of all brands; None while there is no model.
        cohort: size class of each brand's snapshot (a power of two).
        withdrawn: customers who withdrew since the round before.
    """

    round: int
    epsilon: float
    auc: float | None
    cohort: Mapping[str, int]
    withdrawn: int


@dataclass(frozen=True)
class BrandScore:
    """Held-out AUC at one brand, or over all; NaN where it can not be computed (one class only).

    Attributes:
        name: the brand, or "all brands".
        customers: customers trained on.
        federated: the shared private model.
        alone: the brand's own private model at the same epsilon.
        pooled: a model on everybody's rows, not private: possible only in the laboratory.
    """

    name: str
    customers: int
    federated: float
    alone: float
    pooled: float


@dataclass(frozen=True)
class Spend:
    """Epsilon spent on a purpose by a customer of each brand, at most."""

    purpose: str
    epsilon: float
    ceiling: float
    delta: float


@dataclass(frozen=True)
class WithdrawalWave:
    """Customers who withdrew after a round, and the rounds that could use them, by the service's own record."""

    after_round: int
    customers: int
    rounds: tuple[int, ...]


@dataclass(frozen=True)
class LiftResult:
    """What the decisions changed, against a random holdout (intention to treat).

    Attributes:
        treated: customers outside the holdout.
        held_out: customers in it.
        sent: decisions other than "no action".
        difference: in conversion rate, treated less held out.
        low: lower end of the 95 % interval.
        high: upper end.
        blocked: how many candidates each rule blocked, by rule id.
    """

    treated: int
    held_out: int
    sent: int
    difference: float
    low: float
    high: float
    blocked: Mapping[str, int]


@dataclass(frozen=True)
class LogResult:
    """The audit log at the end.

    Attributes:
        path: the published folder.
        vkey: the file with the verifier key, kept apart from it.
        checkpoint: the file with the last checkpoint, kept apart from it.
        size: entries.
        root: of the last checkpoint, base64.
        verified: whether the offline verifier found nothing wrong.
    """

    path: str
    vkey: str
    checkpoint: str
    size: int
    root: str
    verified: bool


@dataclass(frozen=True)
class Coverage:
    """How many customers of a brand said yes, no or nothing to a purpose."""

    brand: str
    purpose: str
    granted: int
    withdrawn: int
    never_asked: int


@dataclass(frozen=True)
class CalibrationBin:
    """Held-out customers with about the same prediction: mean prediction, share that converted, how many."""

    predicted: float
    observed: float
    customers: int


@dataclass(frozen=True)
class DemoResult:
    """Everything that `confide demo` shows."""

    run_id: str
    seconds: float
    guaranteed: bool
    """Whether the noise came from the operating system's CSPRNG, so that the epsilon holds."""
    rounds: tuple[RoundPoint, ...]
    scores: tuple[BrandScore, ...]
    """One per brand, then "all brands"."""
    spends: tuple[Spend, ...]
    withdrawals: tuple[WithdrawalWave, ...]
    lift: LiftResult
    log: LogResult
    coverage: tuple[Coverage, ...]
    calibration: tuple[CalibrationBin, ...]
    intake: Mapping[str, Mapping[str, int]]
    """Per brand: events received, kept, duplicates, rejected."""
