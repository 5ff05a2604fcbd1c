"""What releases cost: against an independent accountant, the closed form, and the plan of a task."""

import math

import pytest
from dp_accounting import dp_event
from dp_accounting.pld import PLDAccountant
from scipy.optimize import brentq
from scipy.stats import norm
from small_federation import small_task

from consent.contract import PrivacyTarget, SolverSettings
from consent.contract.plan import solver_for
from privacy import accounting
from privacy.errors import BudgetExceededError


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


def test_being_over_a_ceiling_is_refused_with_the_numbers() -> None:
    with pytest.raises(BudgetExceededError, match=r"epsilon 1\.0100 of a purpose, over the ceiling 1\.0000"):
        accounting.check_within(1.01, 1.0, population="a purpose")
    accounting.check_within(1.0 + 1e-10, 1.0, population="a purpose")
