"""Noise on a grid: what is released, how it is spread, what is refused; and where the noise comes from."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from privacy.errors import InvalidContributionError
from privacy.mechanisms import GridGaussian
from privacy.randomness import NoiseSource, SeededNoise, SystemNoise

DRAWS = 200_000
FALSE_ALARM = 1e-7
"""Probability that a right implementation fails a statistical test here."""


class FixedNoise:
    """Draws that a test chooses."""

    guaranteed = False

    def __init__(self, draws: list[float]) -> None:
        self._draws = np.array(draws)

    def normal(self, size: int) -> NDArray[np.float64]:
        assert size == self._draws.size
        return self._draws

    def random_bytes(self, size: int) -> bytes:
        return bytes(size)


def test_sum_and_noise_are_both_rounded_to_the_grid() -> None:
    mechanism = GridGaussian(sensitivity=2.0, noise_multiplier=3.0, grid=0.5)
    released = mechanism.release(np.array([1.3, -0.2, 10.0]), FixedNoise([0.0, 1.0, -0.06]))
    # 1.3 is 2.6 steps, -0.2 is -0.4, 10 is 20; one standard deviation is 6, which is 12 steps.
    assert released.dtype == np.int64
    np.testing.assert_array_equal(released, [3 + 0, 0 + 12, 20 - 1])
    np.testing.assert_array_equal(mechanism.from_grid(released), [1.5, 6.0, 9.5])


@pytest.mark.parametrize("source", [SystemNoise(), SeededNoise(3)])
def test_noise_has_the_stated_deviation_and_mean(source: NoiseSource) -> None:
    mechanism = GridGaussian(sensitivity=0.7, noise_multiplier=5.0, grid=2.0**-10)
    noise = mechanism.from_grid(mechanism.draw(DRAWS, source))
    deviation = mechanism.standard_deviation
    assert deviation == pytest.approx(3.5)
    bound = -stats.norm.ppf(FALSE_ALARM)
    assert abs(noise.mean()) < bound * deviation / math.sqrt(DRAWS)
    assert abs(noise.std() / deviation - 1) < bound / math.sqrt(2 * DRAWS)


def test_low_bits_of_a_release_tell_nothing_of_the_sum() -> None:
    """Mironov 2012: a float's low bits tell which sum was noised; on the grid every residue is as likely."""
    mechanism = GridGaussian(sensitivity=1.0, noise_multiplier=4.0, grid=2.0**-10)
    naive = {exact: exact + SystemNoise().normal(DRAWS) for exact in (0.0, 1.0)}
    low = {exact: (noisy[np.abs(noisy) < 0.25] * 2.0**53) % 1 for exact, noisy in naive.items()}
    assert np.all(low[1.0] == 0)
    assert np.mean(low[0.0] == 0) < 0.5
    for exact in (0.0, 1.0, 1.0 + 2.0**-52):
        released = mechanism.release(np.full(DRAWS, exact), SystemNoise())
        for modulus in (2, 16, 251):
            counts = np.bincount(released % modulus, minlength=modulus)
            assert stats.chisquare(counts).pvalue > FALSE_ALARM


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 2.0**53, -(2.0**53)])
def test_a_sum_that_does_not_fit_the_grid_is_refused(value: float) -> None:
    mechanism = GridGaussian(sensitivity=1.0, noise_multiplier=1.0, grid=1.0)
    with pytest.raises(InvalidContributionError, match="nothing is released"):
        mechanism.release(np.array([0.0, value]), SystemNoise())


@pytest.mark.parametrize("name", ["sensitivity", "noise_multiplier", "grid"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_parameters_must_be_positive_and_finite(name: str, value: float) -> None:
    values = {"sensitivity": 1.0, "noise_multiplier": 1.0, "grid": 1.0, name: value}
    with pytest.raises(InvalidContributionError, match=name):
        GridGaussian(**values)


def test_noise_that_would_overflow_and_hide_nothing_is_refused() -> None:
    with pytest.raises(InvalidContributionError, match="overflow"):
        GridGaussian(sensitivity=1.0, noise_multiplier=1e16, grid=2.0**-16)
    widest = GridGaussian(sensitivity=1.0, noise_multiplier=2.0**32, grid=2.0**-16)
    assert len(np.unique(widest.draw(1000, SystemNoise()))) > 990


def test_system_noise_is_standard_normal() -> None:
    draws = SystemNoise().normal(DRAWS)
    assert np.all(np.isfinite(draws))
    assert stats.kstest(draws, "norm").pvalue > FALSE_ALARM
    bound = -stats.norm.ppf(FALSE_ALARM)
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((draws**power).mean() - moment) < bound * math.sqrt(variance / DRAWS), f"moment {power}"


def test_system_noise_is_fresh_at_every_call() -> None:
    source = SystemNoise()
    assert source.guaranteed
    assert not np.any(source.normal(1000) == source.normal(1000))


@pytest.mark.parametrize("word", [0, 2**64 - 1, 1, 2**64 - 2, 2**63])
def test_no_word_of_random_bits_gives_an_infinite_draw(word: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("privacy.randomness.secrets.token_bytes", lambda size: word.to_bytes(8, "little")[:size])
    (draw,) = SystemNoise().normal(1)
    assert math.isfinite(draw)
    assert abs(draw) < 9


def test_seeded_noise_repeats_and_carries_no_guarantee() -> None:
    first, again, other = SeededNoise(1), SeededNoise(1), SeededNoise(2)
    assert not first.guaranteed
    stream = np.concatenate([first.normal(10), first.normal(10)])
    np.testing.assert_array_equal(stream, np.concatenate([again.normal(10), again.normal(10)]))
    assert not np.any(stream[:10] == stream[10:])
    assert not np.any(stream[:10] == other.normal(10))
