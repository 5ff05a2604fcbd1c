"""The plan of a budget: every number follows from a task's public settings, and none from anybody's data."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from consent.contract import Phase, TaskSpec
from consent.contract.plan import solver_for
from privacy import accounting
from privacy.errors import PrivacyError
from privacy.mechanisms import GridGaussian
from privacy.releases import metrics
from privacy.secure_sum import Scheme
from privacy.solvers import AcceleratedAdditive, Marginals

TrustMode = Literal["local", "distributed"]
TRUST_MODES: tuple[TrustMode, ...] = ("local", "distributed")


@dataclass(frozen=True)
class PlannedRound:
    """A round before it is opened.

    Attributes:
        number: from 0.
        phase: what is summed.
        noise_multiplier: standard deviation of the noise over what one customer changes at as many brands as the
            task admits.
        noise: standard deviation of the noise of each coordinate of the opened sum, nobody dropped out.
        epsilon: what all rounds so far cost a customer at as many brands as the task admits.
    """

    number: int
    phase: str
    noise_multiplier: float
    noise: float
    epsilon: float


@dataclass(frozen=True)
class ModeErrors:
    """What noise does to results in one trust mode; standard deviations, sampling error left aside.

    Attributes:
        mode: the trust mode.
        unavailable: why these brands can not use it, or None.
        count: of a histogram's count, in customers.
        rate: of the share of customers with the label, from round 0.
        gradient: of a coordinate of the mean gradient.
        gradient_share: expected norm of the noise on the mean gradient, over one customer's clip norm at a brand.
        mean: of the mean of a number in [0, 1], were the whole budget spent on it alone.
    """

    mode: str
    unavailable: str | None = None
    count: float | None = None
    rate: float | None = None
    gradient: float | None = None
    gradient_share: float | None = None
    mean: float | None = None


@dataclass(frozen=True)
class BudgetPlan:
    """What a task's budget buys.

    Attributes:
        mode: the task's trust mode.
        brands: brands of the run.
        customers: at all brands together.
        epsilon: the target, over all rounds.
        delta: at this delta.
        dropouts: brands that may fail, in trust mode `distributed`.
        colluders: brands whose noise is not counted on, in trust mode `distributed`.
        rounds: from first to last.
        epsilon_at: what the run costs a customer at 1, 2, ... brands, to the most that the task admits.
        errors: in both trust modes.
    """

    mode: str
    brands: int
    customers: int
    epsilon: float
    delta: float
    dropouts: int
    colluders: int
    rounds: tuple[PlannedRound, ...]
    epsilon_at: tuple[float, ...]
    errors: tuple[ModeErrors, ...]


def plan_budget(task: TaskSpec, *, brands: int, customers: int) -> BudgetPlan:
    """Return what the task's budget buys among so many brands and customers.

    Args:
        task: its trust mode is planned for, the other one compared.
        brands: brands of the run.
        customers: opted-in customers of all brands together, each counted at every brand that they are at.

    Raises:
        PrivacyError: the task's noise does not fit its grid, or the brands can not use its trust mode.
    """
    plan = _ModePlan(task, brands, customers)
    target = task.privacy
    return BudgetPlan(
        mode=target.trust_mode,
        brands=brands,
        customers=customers,
        epsilon=target.epsilon,
        delta=target.delta,
        dropouts=target.dropouts,
        colluders=target.colluders,
        rounds=tuple(plan.round(number) for number in range(task.total_rounds)),
        epsilon_at=tuple(plan.solver.epsilon_at(k) for k in range(1, target.max_brands_per_customer + 1)),
        errors=tuple(_errors(task, mode, brands, customers) for mode in TRUST_MODES),
    )


def _errors(task: TaskSpec, mode: TrustMode, brands: int, customers: int) -> ModeErrors:
    privacy = task.privacy.model_copy(update={"trust_mode": mode})
    try:
        return _ModePlan(task.model_copy(update={"privacy": privacy}), brands, customers).errors()
    except PrivacyError as error:
        return ModeErrors(mode, unavailable=str(error))


class _ModePlan:
    """A task in its trust mode, as if customers were spread evenly over every feature's cells."""

    def __init__(self, task: TaskSpec, brands: int, customers: int) -> None:
        self._mode = task.privacy.trust_mode
        self._brands, self._customers = brands, customers
        if self._mode == "distributed":
            names = tuple(f"brand {number}" for number in range(brands))
            Scheme(bytes(32), names, task.privacy.colluders, task.privacy.dropouts, task.total_rounds)
        self.solver = solver_for(task, brands=brands)
        self._marginals = _even(self.solver, customers)
        self._noise = {Phase.MARGINALS: self._opened(None), Phase.GRADIENT: self._opened(self._marginals)}
        most = task.privacy.max_brands_per_customer
        self._multipliers = [self.solver.noise_multiplier(n, brands=most) for n in range(task.total_rounds)]

    def round(self, number: int) -> PlannedRound:
        phase = Phase.GRADIENT if number else Phase.MARGINALS
        spent = accounting.epsilon(self._multipliers[: number + 1], self.solver.delta)
        return PlannedRound(number, phase.value, self._multipliers[number], self._noise[phase], spent)

    def errors(self) -> ModeErrors:
        count = self._noise[Phase.MARGINALS]
        gradient = self._noise[Phase.GRADIENT] / self._customers
        norm = gradient * math.sqrt(self.solver.feature_map(self._marginals).dimension)
        return ModeErrors(
            mode=self._mode,
            count=count,
            rate=count / self._customers,
            gradient=gradient,
            gradient_share=norm / self.solver.brand_clip_norm,
            mean=self._mean() / self._customers,
        )

    def _mean(self) -> float:
        """Return the noise on one sum that alone takes the whole budget, in proportion to that of a round."""
        alone = metrics([1.0], accounting.total_multiplier(self.solver.epsilon, self.solver.delta))
        counts = self.solver.mechanism(None).sensitivity * self._multipliers[0]
        return self._noise[Phase.MARGINALS] / counts * alone.standard_deviation

    def _opened(self, marginals: Marginals | None) -> float:
        """Return the deviation of the noise in the sum over all brands."""
        mechanism: GridGaussian = self.solver.mechanism(marginals)
        if not self.solver.distributed:
            return mechanism.standard_deviation * math.sqrt(self._brands)
        return mechanism.grid * math.sqrt(self.solver.shares(marginals).variance_of(self._brands))


def _even(solver: AcceleratedAdditive, customers: int) -> Marginals:
    histograms = [np.full(layout.cells, customers / layout.cells) for layout in solver.layouts]
    return Marginals(np.concatenate([*histograms, [customers / 2]]), 1.0)
