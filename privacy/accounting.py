"""What a sequence of Gaussian releases costs one customer.

Every release here is a full-participation Gaussian mechanism: no sampling, so no amplification is claimed.
Releases with noise multipliers z_1 .. z_k compose exactly to one Gaussian mechanism with noise multiplier
(sum z_i**-2)**-1/2 (Dong, Roth and Su, "Gaussian Differential Privacy", 2019, Corollary 3.3), whose
(epsilon, delta) curve dp-accounting evaluates after Balle and Wang (2018), Theorem 8.
"""

import math
from collections.abc import Iterable
from functools import cache

import dp_accounting

from privacy.errors import BudgetExceededError, InvalidContributionError

RELATIVE_SLACK = 1e-9
"""Ceilings are compared with this relative tolerance: sums of squares round, budgets are decimal."""


def composed_multiplier(noise_multipliers: Iterable[float]) -> float:
    """Return the noise multiplier of the one Gaussian that equals the whole sequence; inf for none.

    Raises:
        ValueError: a multiplier is not positive.
    """
    precision = 0.0
    for multiplier in noise_multipliers:
        if not multiplier > 0:
            raise ValueError(f"A noise multiplier must be positive, got {multiplier}.")
        precision += multiplier**-2
    return math.inf if precision == 0 else precision**-0.5


def epsilon(noise_multipliers: Iterable[float], delta: float) -> float:
    """Return the smallest epsilon, at `delta` in (0, 1), that all the releases together satisfy."""
    return _epsilon_of_one(composed_multiplier(noise_multipliers), delta)


@cache
def _epsilon_of_one(noise_multiplier: float, delta: float) -> float:
    if math.isinf(noise_multiplier):
        return 0.0
    return float(dp_accounting.get_epsilon_gaussian(noise_multiplier, delta))


@cache
def total_multiplier(target_epsilon: float, delta: float) -> float:
    """Return the least noise multiplier of one Gaussian release that satisfies (target_epsilon, delta)."""
    return float(dp_accounting.get_sigma_gaussian(target_epsilon, delta))


def reach(brands: int, *, summed: bool) -> float:
    """Return by how much a noise multiplier shrinks for a customer at `brands` brands.

    A line's noise multiplier is for a customer at one brand. Where brands release apart, a customer at k of them
    has k releases, which compose to a multiplier smaller by sqrt(k); where their sums are added before noise, the
    customer moves the one sum k times as far.

    Args:
        brands: brands that the customer is at, from 1.
        summed: whether only the sum over brands was opened.

    Raises:
        InvalidContributionError: they are at none.
    """
    if brands < 1:
        raise InvalidContributionError(f"A customer is at one brand at least, not at {brands}.")
    return float(brands) if summed else math.sqrt(brands)


def check_within(spent: float, ceiling: float, *, population: str) -> None:
    """Refuse when `spent` is over `ceiling`.

    Args:
        spent: epsilon with the release in question included.
        ceiling: the most that the population may spend.
        population: what the budget is of, for the sentence.

    Raises:
        BudgetExceededError: it is over; nothing may be computed.
    """
    if spent > ceiling * (1 + RELATIVE_SLACK):
        raise BudgetExceededError(
            f"The release would spend epsilon {spent:.4f} of {population}, over the ceiling {ceiling:.4f}; "
            f"lower the noise budget of the task, or have an officer raise the ceiling."
        )
