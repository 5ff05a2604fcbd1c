"""Empirical audits: bounds that hold as often as they say, and mechanisms broken on purpose that do not pass."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from client.training import Contribution, Trainer
from client.training.gradients import clipped_gradient_sum
from privacy.accounting import epsilon, total_multiplier
from privacy.auditing import Canaries, gaussian_epsilon, one_run_epsilon
from privacy.binning import CellLayout
from privacy.errors import AmplificationRefusedError, InvalidContributionError
from privacy.mechanisms import GridGaussian
from privacy.noise_shares import NoiseShares
from privacy.randomness import NoiseSource, SeededNoise
from privacy.sampling import Sampling, Scheme, sampled_epsilon
from privacy.solvers import AcceleratedAdditive, Marginals
from simulations.auditing import Audit, Brands, Opened, audit

DELTA = 1e-6
FEATURES, CELLS, BRANDS = 12, 33, 4
TRIALS = 400
Vectors = Sequence[NDArray[np.float64]]


def solver(mode: str, *, budget: float = 4.0) -> AcceleratedAdditive:
    local = AcceleratedAdditive((CellLayout(CELLS, ordered=True),) * FEATURES, 6, 0.5, 0.1, 32, budget, DELTA)
    if mode == "local":
        return local
    return replace(local, distributed=True, brands=BRANDS, dropouts=1, colluders=1)


def customers() -> list[Contribution]:
    rng = np.random.default_rng(1)
    return [
        Contribution(
            rng.integers(0, CELLS, (400, FEATURES)).astype(np.int16), rng.integers(0, 2, 400).astype(np.int8)
        )
        for _ in range(BRANDS)
    ]


def audited(mode: str, seen_by: Brands | None = None) -> Audit:
    return audit(solver(mode), customers(), released=seen_by)


@pytest.mark.parametrize("mode", ["local", "distributed"])
def test_what_is_deployed_passes_and_is_not_passed_for_nothing(mode: str) -> None:
    found = audited(mode)
    assert found.holds(), found
    assert found.canaries > 100
    assert 0.5 < found.gaussian <= found.claimed


def _halved_local(patch: pytest.MonkeyPatch) -> None:
    drawn = GridGaussian.draw
    patch.setattr(GridGaussian, "draw", lambda self, size, noise: drawn(self, size, noise) // 2)


def _halved_shares(patch: pytest.MonkeyPatch) -> None:
    drawn = NoiseShares.draw
    patch.setattr(NoiseShares, "draw", lambda self, size, random_bytes: drawn(self, size, random_bytes) // 2)


def _whole_budget_every_round(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        AcceleratedAdditive,
        "noise_multiplier",
        lambda self, _round, **_at: total_multiplier(self.epsilon, self.delta),
    )


@pytest.mark.parametrize(
    ("mode", "breaks"),
    [
        ("local", _halved_local),
        ("distributed", _halved_shares),
        ("local", _whole_budget_every_round),
        ("distributed", _whole_budget_every_round),
    ],
    ids=["noise halved", "shares halved", "accountant reset, local", "accountant reset, distributed"],
)
def test_a_bound_passes_the_claim(
    mode: str, breaks: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    breaks(monkeypatch)
    found = audited(mode)
    assert found.gaussian > found.claimed, found
    assert not found.holds()


class OneShareLess(Brands):
    """A brand that adds no noise, and says nothing of it."""

    def __call__(self, solver: AcceleratedAdditive, marginals: Marginals | None, exact: Vectors) -> Opened:
        whole = super().__call__(solver, marginals, exact)
        fewest, known = solver.shares(marginals).fewest, np.sum(exact, axis=0)
        return replace(whole, total=known + math.sqrt((fewest - 1) / fewest) * (whole.total - known))


class SameNoise(Brands):
    """Draws that begin anew in every round."""

    def __init__(self) -> None:
        super().__init__()
        self._noise: NoiseSource

    def __call__(self, solver: AcceleratedAdditive, marginals: Marginals | None, exact: Vectors) -> Opened:
        self._noise = SeededNoise(3)
        return super().__call__(solver, marginals, exact)


def test_a_missing_share_is_seen_in_the_noise() -> None:
    assert audited("distributed", OneShareLess()).too_small < 1e-6


def test_noise_that_comes_again_is_seen() -> None:
    assert audited("local", SameNoise()).repeated < 1e-6


def test_a_sum_without_clipping_moves_too_far(monkeypatch: pytest.MonkeyPatch) -> None:
    """One customer with a gradient longer than the clip norm, in the sum and out of it."""
    solving, (mine, *_) = solver("local"), customers()
    first = Trainer(solving).exact_sum(solving.query(solving.start()), mine, cohort="all")
    state = solving.advance(solving.start(), first, 1.0)
    query, mechanism = solving.query(state), solving.mechanism(state.marginals)
    fewer = Contribution(mine.cells[1:], mine.labels[1:])

    def moved() -> float:
        sums = [
            mechanism.from_grid(mechanism.to_grid(Trainer(solving).exact_sum(query, each, cohort=name)))
            for name, each in (("all", mine), ("fewer", fewer))
        ]
        return float(np.linalg.norm(sums[0] - sums[1]))

    assert moved() <= mechanism.sensitivity
    monkeypatch.setattr(
        "client.training.contribution.clipped_gradient_sum",
        lambda *values, clip_norm, **others: (
            3 * clipped_gradient_sum(*values, clip_norm=1e6 * clip_norm, **others)
        ),
    )
    assert moved() > mechanism.sensitivity


@pytest.mark.parametrize("scheme", [scheme for scheme in Scheme if scheme is not Scheme.POISSON])
def test_sampling_that_is_not_poisson_amplifies_nothing(scheme: Scheme) -> None:
    with pytest.raises(AmplificationRefusedError):
        sampled_epsilon(1.0, Sampling(scheme, 0.01, secret=True), 10, DELTA)


def test_a_thousand_right_guesses_bound_what_they_should() -> None:
    """With delta 0 and every guess right, the bound solves rate ** guesses = 0.05."""
    included = np.arange(2000) % 2 == 0
    canaries = Canaries(included.astype(np.float64), included)
    rate = 0.05 ** (1 / 1000)
    assert one_run_epsilon(canaries, 0.0) == pytest.approx(math.log(rate / (1 - rate)), abs=1e-4)


def test_the_one_run_bound_is_passed_as_seldom_as_it_says() -> None:
    """Randomized response at epsilon 1, where the bound is tight."""
    rng, keep = np.random.default_rng(5), math.e / (1 + math.e)
    passed = 0
    for _ in range(TRIALS):
        included = rng.random(400) < 0.5
        told = np.where(rng.random(400) < keep, included, ~included)
        passed += one_run_epsilon(Canaries(told + 0.1 * rng.random(400), included), 0.0) > 1.0
    assert passed <= 0.05 * TRIALS + 3 * math.sqrt(0.05 * 0.95 * TRIALS)


@pytest.mark.parametrize("budget", [0.5, 2.0, 8.0])
def test_the_gaussian_bound_is_passed_as_often_as_it_says(budget: float) -> None:
    rng, shift = np.random.default_rng(6), 1 / total_multiplier(budget, DELTA)
    passed = 0
    for _ in range(TRIALS):
        included = rng.random(300) < 0.5
        scores = rng.normal(size=300) + shift * included
        passed += gaussian_epsilon(Canaries(scores, included), DELTA) > epsilon([1 / shift], DELTA)
    assert abs(passed - 0.05 * TRIALS) <= 4 * math.sqrt(0.05 * 0.95 * TRIALS)


def test_an_audit_of_next_to_nobody_is_refused() -> None:
    with pytest.raises(InvalidContributionError):
        Canaries(np.zeros(10), np.ones(10, dtype=np.bool_))
