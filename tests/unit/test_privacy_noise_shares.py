"""Noise of which every brand adds a share: enough whoever drops out, of the stated law and at the stated price."""

import math
import secrets
from collections import Counter
from fractions import Fraction
from itertools import combinations

import mpmath
import numpy as np
import pytest
from dp_accounting.pld import privacy_loss_distribution
from scipy.stats import chisquare
from secure_run import context_of, secure_run

from privacy import accounting
from privacy.errors import InvalidContributionError, TooFewBrandsError
from privacy.noise_shares import LEAST_SHARE, ROUNDING_VARIANCE, NoiseShares
from privacy.secure_sum import Ring

ALMOST_NEVER = 1e-7
DIGITS = 400
SITUATIONS = [(3, 0, 0), (3, 1, 0), (3, 0, 1), (4, 1, 1), (5, 2, 0), (5, 1, 1), (6, 1, 2)]
"""Brands, dropouts and colluders."""


def law(variance: int) -> dict[int, float]:
    reach = 12 * math.isqrt(variance) + 12
    weights = {x: math.exp(-x * x / (2 * variance)) for x in range(-reach, reach + 1)}
    total = math.fsum(weights.values())
    return {x: weight / total for x, weight in weights.items()}


def fits(draws: np.ndarray, expected: dict[int, float]) -> float:
    common = {x: p for x, p in expected.items() if p * draws.size >= 20}
    counts = Counter(draws.tolist())
    seen = [counts[x] for x in common]
    wanted = [p * draws.size for p in common.values()]
    seen.append(draws.size - sum(seen))
    wanted.append(draws.size - sum(wanted))
    return float(chisquare(seen, wanted).pvalue)


def dropout_patterns() -> list[tuple[int, int, int, tuple[int, ...]]]:
    return [
        (brands, dropouts, colluders, missing)
        for brands, dropouts, colluders in SITUATIONS
        for size in range(dropouts + 1)
        for missing in combinations(range(brands), size)
    ]


@pytest.mark.parametrize(("brands", "dropouts", "colluders", "missing"), dropout_patterns())
def test_an_opened_sum_has_the_accounted_law_whoever_dropped_out(
    brands: int, dropouts: int, colluders: int, missing: tuple[int, ...]
) -> None:
    """Masked, sent and opened as in a run: what comes out is the exact sum and noise of the stated variance."""
    shares = NoiseShares(5.0, brands, dropouts, colluders)
    run = secure_run(brands, colluding=colluders, dropouts=dropouts)
    arrived = [name for place, name in enumerate(run.scheme.brands) if place not in missing]
    masked = run.masked({name: 1_000 + shares.draw(40_000, secrets.token_bytes) for name in arrived})
    request = run.request(frozenset(arrived))
    opened = run.opener.open(request, masked, [run.members[name].unmask(request) for name in arrived], Ring(32))
    noise = opened - 1_000 * len(arrived)
    assert fits(noise, law(shares.variance_of(len(arrived)))) > ALMOST_NEVER
    accounted = 5.0**2
    assert shares.variance_of(len(arrived) - colluders) >= accounted + ROUNDING_VARIANCE
    assert shares.noise_shares(len(arrived)) == len(arrived) / (brands - dropouts - colluders) >= 1
    assert context_of(0) == request.context


@pytest.mark.parametrize(("brands", "dropouts", "colluders"), SITUATIONS)
@pytest.mark.parametrize("deviation", [0.01, 1.0, 3.7, 1024.0, 875_531.123, 2.0**27])
def test_no_pattern_leaves_less_noise_than_is_accounted_for(
    brands: int, dropouts: int, colluders: int, deviation: float
) -> None:
    shares = NoiseShares(deviation, brands, dropouts, colluders)
    for arrived in range(brands - dropouts, brands + 1):
        honest = arrived - colluders
        assert honest * shares.share.variance >= Fraction(deviation) ** 2 + ROUNDING_VARIANCE
        assert shares.share.variance >= LEAST_SHARE
    least = (brands - dropouts - colluders) * (shares.share.variance - 1)
    assert least < max(Fraction(deviation) ** 2 + ROUNDING_VARIANCE, brands * LEAST_SHARE)
    for arrived in (brands - dropouts - 1, brands + 1):
        with pytest.raises(TooFewBrandsError):
            shares.noise_shares(arrived)


@pytest.mark.parametrize(
    ("deviation", "brands", "dropouts", "colluders"),
    [
        (1.0, 3, 2, 1),
        (1.0, 3, -1, 0),
        (1.0, 3, 0, -1),
        (1.0, 2, 0, 2),
        (0.0, 3, 0, 0),
        (-1.0, 3, 0, 0),
        (math.nan, 3, 0, 0),
        (math.inf, 3, 0, 0),
        (2.0**30, 3, 0, 0),
    ],
)
def test_shares_that_hide_nothing_or_can_not_be_drawn_are_refused(
    deviation: float, brands: int, dropouts: int, colluders: int
) -> None:
    with pytest.raises(InvalidContributionError):
        NoiseShares(deviation, brands, dropouts, colluders)


def theta(variance: float) -> mpmath.mpf:
    return 2 * mpmath.nsum(lambda j: mpmath.exp(-2 * mpmath.pi**2 * variance * j**2), [1, mpmath.inf])


def series(variance: float, shift: mpmath.mpf) -> mpmath.mpf:
    """The sum over the integers of exp(-(x - shift)^2 / (2 variance)), to many digits."""
    reach = int(mpmath.sqrt(2 * variance * mpmath.mp.prec)) + abs(int(shift)) + 2
    return mpmath.fsum(mpmath.exp(-((x - shift) ** 2) / (2 * variance)) for x in range(-reach, reach + 1))


@pytest.mark.parametrize(("first", "second"), [(0.5, 0.5), (1.0, 0.5), (2.0, 2.0), (1.0, 3.0)])
def test_a_sum_of_two_discrete_gaussians_is_as_near_to_one_as_is_said(first: float, second: float) -> None:
    """Every probability of the convolution against the law of one, at variances where the bound can be seen."""
    with mpmath.workprec(DIGITS):
        a, b = mpmath.mpf(first), mpmath.mpf(second)
        bound = -4 * mpmath.log(1 - theta(a * b / (a + b)))
        norms, norm = series(a, mpmath.mpf(0)) * series(b, mpmath.mpf(0)), series(a + b, mpmath.mpf(0))
        worst = mpmath.mpf(0)
        for total in range(8):
            reach = 60
            terms = (
                mpmath.exp(-mpmath.mpf(x * x) / (2 * a) - mpmath.mpf((total - x) ** 2) / (2 * b))
                for x in range(-reach, reach + 1)
            )
            single = mpmath.exp(-mpmath.mpf(total * total) / (2 * (a + b))) / norm
            worst = max(worst, abs(mpmath.log(mpmath.fsum(terms) / norms / single)))
        assert bound / 100 < worst <= bound


def test_rounding_a_gaussian_at_random_is_as_near_to_the_discrete_one_as_is_said() -> None:
    """By integration, at a rounding variance where the bound can be seen."""
    with mpmath.workprec(64):
        variance, rounding = mpmath.mpf("0.75"), mpmath.mpf("0.5")
        bound = -2 * mpmath.log(1 - theta(rounding))
        norm, worst = series(variance, mpmath.mpf(0)), mpmath.mpf(0)
        for value in (0, 1, 4):

            def density(g: mpmath.mpf, value: int = value) -> mpmath.mpf:
                chance = mpmath.exp(-((value - g) ** 2) / (2 * rounding)) / series(rounding, g)
                return mpmath.npdf(g, 0, mpmath.sqrt(variance - rounding)) * chance

            rounded = mpmath.quad(density, [value + step for step in range(-7, 5)])
            discrete = mpmath.exp(-mpmath.mpf(value * value) / (2 * variance)) / norm
            worst = max(worst, abs(mpmath.log(rounded / discrete)))
        assert bound / 1_000 < worst <= bound


def test_the_slack_is_as_small_as_is_said() -> None:
    with mpmath.workprec(DIGITS):
        least = theta(LEAST_SHARE / 2)
        assert ROUNDING_VARIANCE >= LEAST_SHARE / 2
        assert least < mpmath.mpf(2) ** -112
        coordinate = -(4 * 99 + 2) * mpmath.log(1 - least)
        assert coordinate < mpmath.mpf(2) ** -103
        assert 2 * coordinate * 2**32 < mpmath.mpf(2) ** -70


def exact_delta(variance: int, moved: int, epsilon: float) -> mpmath.mpf:
    """The least delta of one discrete Gaussian release by definition, moved by whole steps."""
    with mpmath.workprec(DIGITS):
        norm = series(mpmath.mpf(variance), mpmath.mpf(0))
        reach = 20 * math.isqrt(variance)

        def at(x: int) -> mpmath.mpf:
            return mpmath.exp(-mpmath.mpf(x * x) / (2 * variance)) / norm

        factor = mpmath.exp(epsilon)
        return mpmath.fsum(max(mpmath.mpf(0), at(x) - factor * at(x - moved)) for x in range(-reach, reach + 1))


@pytest.mark.parametrize(("multiplier", "moved"), [(1.0, 3), (4.2, 2), (2.0, 7)])
@pytest.mark.parametrize("epsilon", [0.1, 1.0, 2.0])
def test_one_release_costs_at_most_what_the_gaussian_does(multiplier: float, moved: int, epsilon: float) -> None:
    """By definition in one dimension: no more than accounted for, and hardly less."""
    shares = NoiseShares(multiplier * moved, 3, 0, 0)
    spent = exact_delta(shares.variance_of(3), moved, epsilon)
    accounted = delta_of_gaussian(multiplier, epsilon)
    assert spent <= accounted
    wider = math.sqrt(shares.variance_of(3)) / moved
    assert float(spent) >= 0.5 * delta_of_gaussian(wider, epsilon)


def delta_of_gaussian(multiplier: float, epsilon: float) -> float:
    """Balle and Wang 2018, theorem 8."""
    tail = mpmath.ncdf(0.5 / multiplier - epsilon * multiplier)
    return float(tail - mpmath.exp(epsilon) * mpmath.ncdf(-0.5 / multiplier - epsilon * multiplier))


@pytest.mark.parametrize("releases", [1, 16])
def test_another_accountant_finds_no_higher_price(releases: int) -> None:
    """dp-accounting's own discrete Gaussian, composed; its discretization only rounds up."""
    moved, multiplier = 8, 6.0
    shares = NoiseShares(multiplier * moved, 4, 1, 1)
    one = privacy_loss_distribution.from_discrete_gaussian_mechanism(
        math.sqrt(shares.variance_of(shares.fewest)), sensitivity=moved, value_discretization_interval=1e-4
    )
    theirs = one.self_compose(releases).get_epsilon_for_delta(1e-6)
    ours = accounting.epsilon([multiplier] * releases, 1e-6)
    assert theirs <= ours * (1 + 1e-3)
    assert theirs == pytest.approx(ours, rel=0.01)


def test_what_floats_give_away_is_not_in_a_sum_of_shares() -> None:
    """Mironov 2012: of a float, the low bits tell the exact sum; of shares, every residue is as likely."""
    size = 100_000
    shares = NoiseShares(4_096.0, 4, 0, 1)
    with_floats = {value: value + np.random.default_rng(3).standard_normal(size) for value in (0.0, 1.0)}
    near_zero = {value: noisy[np.abs(noisy) < 0.25] for value, noisy in with_floats.items()}
    on_the_coarse_grid = {value: float(np.mean((v * 2.0**53) % 1 == 0)) for value, v in near_zero.items()}
    assert on_the_coarse_grid[1.0] == 1.0
    assert on_the_coarse_grid[0.0] < 0.5
    for exact in (0, 1, 65_536):
        released = exact + sum(shares.draw(size, secrets.token_bytes) for _ in range(4))
        assert released.dtype == np.int64
        for modulus in (2, 16, 251):
            counts = np.bincount(released % modulus, minlength=modulus)
            assert chisquare(counts).pvalue > ALMOST_NEVER
