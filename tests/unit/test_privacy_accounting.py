"""What releases cost: against an independent accountant, the closed form, and the plan of a task."""

import math
from dataclasses import replace

import numpy as np
import pytest
from dp_accounting import dp_event
from dp_accounting.pld import PLDAccountant
from scipy.optimize import brentq
from scipy.stats import norm
from small_federation import small_task

from consent.contract import PrivacyTarget, SolverSettings
from consent.contract.plan import solver_for
from privacy import accounting
from privacy.errors import AmplificationRefusedError, BudgetExceededError, InvalidContributionError
from privacy.releases import histograms, metrics
from privacy.sampling import Sampling, Scheme, sampled_epsilon
from privacy.solvers import AcceleratedAdditive, Marginals


def gaussian_dp_epsilon(mu: float, delta: float) -> float:
    """Solve delta(epsilon) of mu-GDP (Dong, Roth and Su 2019, Corollary 2.13) for epsilon."""

    def excess(epsilon: float) -> float:
        tail = norm.cdf(-epsilon / mu + mu / 2) - math.exp(epsilon) * norm.cdf(-epsilon / mu - mu / 2)
        return float(tail) - delta

    return float(brentq(excess, 0, 60, xtol=1e-12))


SEQUENCES = [[1.0], [5.0, 5.0, 5.0], [3.0, 40.0, 7.5, 22.0], [20.0] * 41, [0.9, 90.0]]


@pytest.mark.parametrize("multipliers", SEQUENCES)
@pytest.mark.parametrize("delta", [1e-5, 1e-6])
def test_a_sequence_costs_what_other_accountants_say(multipliers: list[float], delta: float) -> None:
    spent = accounting.epsilon(multipliers, delta)
    mu = math.sqrt(sum(multiplier**-2 for multiplier in multipliers))
    assert spent == pytest.approx(gaussian_dp_epsilon(mu, delta), rel=1e-6)
    accountant = PLDAccountant(value_discretization_interval=1e-3)
    for multiplier in multipliers:
        accountant.compose(dp_event.GaussianDpEvent(multiplier))
    assert spent == pytest.approx(accountant.get_epsilon(delta), rel=0.01)


def test_nothing_released_costs_nothing() -> None:
    assert accounting.epsilon([], 1e-6) == 0.0


@pytest.mark.parametrize("multiplier", [0.0, -1.0, math.nan])
def test_a_release_without_noise_has_no_price(multiplier: float) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        accounting.epsilon([1.0, multiplier], 1e-6)


@pytest.mark.parametrize("epsilon", [0.1, 0.5, 1.0, 8.0])
@pytest.mark.parametrize("rounds", [1, 8, 40, 500])
def test_all_rounds_of_a_plan_cost_exactly_epsilon(epsilon: float, rounds: int) -> None:
    privacy = PrivacyTarget(epsilon=epsilon, delta=1e-6)
    solver = solver_for(small_task(privacy=privacy, solver=SolverSettings(rounds=rounds)))
    multipliers = [solver.noise_multiplier(number) for number in range(solver.total_rounds)]
    assert len(multipliers) == rounds + 1
    spent = accounting.epsilon(multipliers, 1e-6)
    assert spent == pytest.approx(epsilon, rel=1e-9)
    accounting.check_within(spent, epsilon, population="a purpose")
    with pytest.raises(BudgetExceededError):
        accounting.check_within(
            accounting.epsilon([*multipliers, multipliers[-1]], 1e-6), epsilon, population="a purpose"
        )


def modes(most: int) -> list[AcceleratedAdditive]:
    """The same task where brands release apart and where their sum alone is opened."""
    privacy = PrivacyTarget(epsilon=1.0, delta=1e-6, max_brands_per_customer=most)
    return [
        solver_for(small_task(privacy=privacy.model_copy(update={"trust_mode": mode})), brands=5)
        for mode in ("local", "distributed")
    ]


@pytest.mark.parametrize("most", [1, 2, 3, 16])
def test_a_customer_at_as_many_brands_as_the_task_admits_pays_the_target(most: int) -> None:
    for solver in modes(most):
        spent = [solver.epsilon_at(brands) for brands in range(1, most + 1)]
        assert spent == sorted(set(spent))
        assert spent[-1] == pytest.approx(1.0, rel=1e-9)
        assert solver.epsilon_at(most, rounds=0) == 0.0
        for brands in (0, most + 1):
            with pytest.raises(InvalidContributionError, match="brands"):
                solver.epsilon_at(brands)


@pytest.mark.parametrize("brands", [1, 2, 3])
def test_what_a_customer_at_several_brands_pays_follows_from_what_they_move(brands: int) -> None:
    """From noise and sensitivities alone: k releases apart, or one sum that is moved k times as far."""
    apart, together = modes(3)
    for solver in (apart, together):
        lines = [solver.mechanism(None)] + [solver.mechanism(even_marginals(solver))] * solver.rounds
        deviations = [line.standard_deviation / line.sensitivity for line in lines]
        if solver.distributed:
            paid = accounting.epsilon([deviation / brands for deviation in deviations], 1e-6)
        else:
            paid = accounting.epsilon(deviations * brands, 1e-6)
        assert paid == pytest.approx(solver.epsilon_at(brands), rel=1e-9)
        reach = accounting.reach(brands, summed=solver.distributed)
        assert solver.noise_multiplier(1, brands=brands) == pytest.approx(solver.noise_multiplier(1) / reach)
    with pytest.raises(InvalidContributionError):
        accounting.reach(0, summed=True)


def even_marginals(solver: AcceleratedAdditive) -> Marginals:
    return Marginals(np.full(solver.marginals_length, 50.0), 1)


@pytest.mark.parametrize(
    ("epsilon", "delta", "multiplier"),
    [(1.0, 1e-5, 3.730631634816464), (1.0, 0.12693673750664397, 1.0), (0.0, 0.38292492254802624, 1.0)],
    ids=["Balle and Wang", "mu = 1 at 1", "mu = 1 at 0"],
)
def test_published_points_of_the_gaussian_curve(epsilon: float, delta: float, multiplier: float) -> None:
    """Balle and Wang 2018 (their code's example); Dong, Roth and Su 2019, corollary 2.13 and 2.7 for mu = 1."""
    if epsilon:
        assert accounting.total_multiplier(epsilon, delta) == pytest.approx(multiplier, rel=1e-8)
    assert accounting.epsilon([multiplier], delta) == pytest.approx(epsilon, abs=1e-6)


def test_concentrated_accounting_would_ask_for_more_noise() -> None:
    """The other proof for the discrete Gaussian (Canonne, Kamath and Steinke 2020, theorem 4 and corollary 13)."""

    def concentrated_delta(rho: float, epsilon: float) -> float:
        orders = np.linspace(1.001, 200, 400_000)
        logs = (orders - 1) * (orders * rho - epsilon) + orders * np.log1p(-1 / orders) - np.log(orders - 1)
        return float(np.exp(logs.min()))

    ours = accounting.total_multiplier(1.0, 1e-6)
    theirs = brentq(lambda z: math.log(concentrated_delta(0.5 / z**2, 1.0)) - math.log(1e-6), 2, 10)
    assert (round(ours, 3), round(theirs, 3)) == (4.225, 4.531)


def test_a_rate_of_sampling_counts_only_where_it_is_poisson_and_secret() -> None:
    """Pitfall: shuffled or fixed batches, and a choice of brands that the coordinator makes, do not amplify."""
    fair = Sampling(Scheme.POISSON, 0.01, secret=True)
    assert sampled_epsilon(1.0, fair, 100, 1e-6) < accounting.epsilon([1.0] * 100, 1e-6)
    for scheme in Scheme:
        for secret in (True, False):
            for rate in (0.01, 1.0):
                if scheme is Scheme.POISSON and secret:
                    continue
                with pytest.raises(AmplificationRefusedError, match="as one of everyone"):
                    sampled_epsilon(1.0, Sampling(scheme, rate, secret=secret), 100, 1e-6)
    for rate in (0.0, -0.1, 1.5, math.nan):
        with pytest.raises(AmplificationRefusedError, match="rate"):
            sampled_epsilon(1.0, replace(fair, rate=rate), 100, 1e-6)


def test_poisson_sampling_of_everyone_is_no_sampling() -> None:
    everyone = Sampling(Scheme.POISSON, 1.0, secret=True)
    assert sampled_epsilon(5.0, everyone, 10, 1e-6) == pytest.approx(
        accounting.epsilon([5.0] * 10, 1e-6), rel=0.01
    )


def test_a_published_point_of_poisson_sampling() -> None:
    """4,000 customers, batches of 32, sigma 1, delta 1e-5, 30 passes: 2.81 by another library's PRV accountant."""
    sampling = Sampling(Scheme.POISSON, 32 / 4_000, secret=True)
    assert sampled_epsilon(1.0, sampling, 30 * 125, 1e-5) == pytest.approx(2.81, abs=0.02)


def test_releases_of_other_kinds_are_lines_of_the_same_ledger() -> None:
    """Their sensitivity by a customer more in every sum, and their price with a run's rounds."""
    counts = histograms(3, 10.0)
    assert counts.sensitivity == pytest.approx(math.sqrt(3), rel=2e-3)
    one = metrics([1.0, 20.0], 10.0)
    moved = one.to_grid(np.array([7.3 + 1.0, -4.1 - 20.0])) - one.to_grid(np.array([7.3, -4.1]))
    assert np.linalg.norm(one.from_grid(moved)) <= one.sensitivity <= math.hypot(1, 20) * 1.01
    lines = [counts.noise_multiplier, one.noise_multiplier, 28.0]
    assert accounting.composed_multiplier(lines) == pytest.approx((0.02 + 28.0**-2) ** -0.5)
    for bounds in ([], [0.0], [-1.0], [math.inf], [math.nan]):
        with pytest.raises(InvalidContributionError):
            metrics(bounds, 1.0)
    with pytest.raises(InvalidContributionError):
        histograms(0, 1.0)


def test_being_over_a_ceiling_is_refused_with_the_numbers() -> None:
    with pytest.raises(BudgetExceededError, match=r"epsilon 1\.0100 of a purpose, over the ceiling 1\.0000"):
        accounting.check_within(1.01, 1.0, population="a purpose")
    accounting.check_within(1.0 + 1e-10, 1.0, population="a purpose")
