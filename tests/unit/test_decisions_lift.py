"""Lift: against a published example, against simulation, and refused without a holdout."""

import numpy as np
import pytest

from client.decisions import measure_lift
from client.errors import LiftRefusedError


def arms(treated: int, treated_yes: int, held: int, held_yes: int) -> tuple[np.ndarray, np.ndarray]:
    held_out = np.repeat([False, True], [treated, held])
    converted = np.concatenate([np.arange(treated) < treated_yes, np.arange(held) < held_yes])
    return held_out, converted


@pytest.mark.parametrize(
    ("table", "lower", "upper"),
    [
        ((70, 56, 80, 48), 0.0524, 0.3339),
        ((10, 9, 10, 3), 0.1705, 0.8090),
        ((7, 6, 7, 2), 0.0582, 0.8062),
        ((56, 5, 29, 0), -0.0381, 0.1926),
        ((20, 0, 10, 0), -0.2775, 0.1611),
    ],
)
def test_the_interval_is_newcombes_method_10(table: tuple[int, int, int, int], lower: float, upper: float) -> None:
    """The rows are contrasts of Newcombe 1998, table II, in the column of method 10."""
    lift = measure_lift(*arms(*table))
    assert lift.difference == pytest.approx(table[1] / table[0] - table[3] / table[2])
    assert (lift.lower, lift.upper) == pytest.approx((lower, upper), abs=1e-4)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(1500):
        held_out = np.repeat([False, True], [400, 80])
        converted = rng.random(480) < np.where(held_out, 0.10, 0.16)
        lift = measure_lift(held_out, converted)
        covered += lift.lower <= 0.06 <= lift.upper
    assert 0.935 <= covered / 1500 <= 0.975


def test_rates_are_of_everybody_assigned() -> None:
    lift = measure_lift(*arms(100, 30, 50, 10))
    assert (lift.treated_rate, lift.held_out_rate) == (0.3, 0.2)
    assert (lift.treated, lift.held_out, lift.confidence) == (100, 50, 0.95)


@pytest.mark.parametrize("held_out", [np.zeros(5, dtype=bool), np.ones(5, dtype=bool), np.zeros(0, dtype=bool)])
def test_no_lift_without_two_arms(held_out: np.ndarray) -> None:
    with pytest.raises(LiftRefusedError, match="No lift without"):
        measure_lift(held_out, np.ones(len(held_out), dtype=bool))


def test_no_lift_when_an_outcome_is_missing() -> None:
    with pytest.raises(LiftRefusedError):
        measure_lift(np.array([True, False]), np.array([True]))
