"""Draws of the discrete Gaussian against its law, alone and as the sum of brands' shares."""

import secrets
from collections import Counter

import mpmath
import numpy as np
import pytest
from scipy.stats import chisquare

from privacy import discrete_gaussian
from privacy.discrete_gaussian import DiscreteGaussian
from privacy.errors import InvalidContributionError

DRAWS = 200_000
ALMOST_NEVER = 1e-6


def law(variance: int, reach: int) -> dict[int, float]:
    """Probabilities from the definition, with many digits."""
    with mpmath.workprec(200):
        weights = {x: mpmath.exp(-mpmath.mpf(x * x) / (2 * variance)) for x in range(-reach, reach + 1)}
        total = mpmath.fsum(weights.values())
        return {x: float(weight / total) for x, weight in weights.items()}


def fits(draws: np.ndarray, expected: dict[int, float]) -> float:
    """The p-value of the draws, with rare values taken together."""
    common = {x: p for x, p in expected.items() if p * draws.size >= 20}
    counts = Counter(draws.tolist())
    seen = [counts[x] for x in common]
    wanted = [p * draws.size for p in common.values()]
    seen.append(draws.size - sum(seen))
    wanted.append(draws.size - sum(wanted))
    return float(chisquare(seen, wanted).pvalue)


@pytest.mark.parametrize("variance", [1, 2, 10, 100, 2_500])
def test_draws_follow_the_law(variance: int) -> None:
    draws = DiscreteGaussian(variance).draw(DRAWS, secrets.token_bytes)
    assert fits(draws, law(variance, 12 * int(variance**0.5) + 12)) > ALMOST_NEVER


@pytest.mark.parametrize("deviation", [2**10, 2**20, 2**28])
def test_wide_noise_is_normal_to_what_can_be_seen(deviation: int) -> None:
    draws = DiscreteGaussian(deviation**2).draw(DRAWS, secrets.token_bytes) / deviation
    assert abs(draws.mean()) < 5 / DRAWS**0.5
    assert abs(draws.var() - 1) < 5 * (2 / DRAWS) ** 0.5
    edges = np.array([-np.inf, -2.0, -1.0, 0.0, 1.0, 2.0, np.inf])
    shares = np.array([0.02275013, 0.13590512, 0.34134475, 0.34134475, 0.13590512, 0.02275013])
    counts = np.histogram(draws, edges)[0]
    assert chisquare(counts, shares / shares.sum() * DRAWS).pvalue > ALMOST_NEVER


def test_low_bits_of_wide_noise_are_even() -> None:
    """What a float would give away: every residue is as likely as any other."""
    draws = DiscreteGaussian(2**40).draw(DRAWS, secrets.token_bytes)
    assert chisquare(np.bincount(draws % 64, minlength=64)).pvalue > ALMOST_NEVER


def test_comparisons_that_are_too_close_are_decided_with_more_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    """With every comparison sent there, and cells so wide that most proposals are refused, the law is the same."""
    monkeypatch.setattr(discrete_gaussian, "UNDECIDED", 2.0)
    monkeypatch.setattr(discrete_gaussian, "CELLS_PER_DEVIATION", 1)
    draws = DiscreteGaussian(100).draw(20_000, secrets.token_bytes)
    assert fits(draws, law(100, 150)) > ALMOST_NEVER


@pytest.mark.parametrize("brands", [2, 5, 20])
def test_the_sum_of_shares_has_the_law_of_one_draw(brands: int) -> None:
    """Kairouz, Liu and Steinke 2021, theorem 1: they differ by less than exp(-pi^2 s^2) for shares of s^2."""
    each = DiscreteGaussian(9)
    total = sum(each.draw(DRAWS, secrets.token_bytes) for _ in range(brands))
    assert fits(np.asarray(total), law(9 * brands, 12 * int((9 * brands) ** 0.5))) > ALMOST_NEVER


@pytest.mark.parametrize("variance", [0, -1, 2**56 + 1])
def test_a_variance_that_can_not_be_drawn_exactly_is_refused(variance: int) -> None:
    with pytest.raises(InvalidContributionError):
        DiscreteGaussian(variance)


def test_the_same_bytes_give_the_same_draws() -> None:
    def source() -> object:
        return np.random.default_rng(7).bytes

    one, other = (DiscreteGaussian(100).draw(1_000, source()) for _ in range(2))  # type: ignore[arg-type]
    assert np.array_equal(one, other)
