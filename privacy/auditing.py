"""What releases leaked, measured with canaries: contributions that were put in or left out by fair coins.

An auditor scores every canary by what was released and guesses which were in. Two lower bounds on epsilon follow
at a stated confidence, and a third look at the noise itself where exact sums are known, as in a simulation.

`one_run_epsilon` assumes nothing about the mechanism and takes one run (Steinke, Nasr and Jagielski, "Privacy
auditing with one (1) training run", NeurIPS 2023, theorem 5.2 and its algorithm for delta above 0). It is loose
for small epsilon. `gaussian_epsilon` takes scores to be normal with one variance, as they are under Gaussian noise
when canaries do not overlap, and is then exact (scores as in Andrew et al., "One-shot empirical privacy estimation
for federated learning", ICLR 2024; the bound is that of the noncentral t distribution).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from privacy import accounting
from privacy.errors import InvalidContributionError

CONFIDENCE = 0.95
GUESSED_SHARE = 0.5
"""Part of the canaries that are guessed about, half of them the highest scores and half the lowest."""
MOST_EPSILON = 100.0
FEWEST = 8


@dataclass(frozen=True)
class Canaries:
    """How canaries scored.

    Args:
        scores: shape (m,); higher where what was released speaks for the canary being in.
        included: shape (m,); whether it was.

    Raises:
        InvalidContributionError: there are too few of either kind to say anything.
    """

    scores: NDArray[np.float64]
    included: NDArray[np.bool_]

    def __post_init__(self) -> None:
        inside = int(self.included.sum())
        if self.scores.shape != self.included.shape or min(inside, self.scores.size - inside) < FEWEST:
            raise InvalidContributionError(f"An audit needs at least {FEWEST} canaries in, and as many left out.")

    def guesses(self) -> tuple[int, int]:
        """Return how many guesses the auditor makes, and how many of them are right."""
        each = max(1, int(self.scores.size * GUESSED_SHARE / 2))
        order = np.argsort(self.scores, kind="stable")
        right = int((~self.included[order[:each]]).sum() + self.included[order[-each:]].sum())
        return 2 * each, right


def one_run_epsilon(canaries: Canaries, delta: float, confidence: float = CONFIDENCE) -> float:
    """Return a lower bound on the epsilon, at `delta`, of any mechanism that gave these scores; 0 for none."""
    guesses, right = canaries.guesses()

    def excess(epsilon: float) -> float:
        return _chance(canaries.scores.size, guesses, right, epsilon, delta) - (1 - confidence)

    if excess(0.0) >= 0:
        return 0.0
    if excess(MOST_EPSILON) < 0:
        return MOST_EPSILON
    return float(optimize.brentq(excess, 0.0, MOST_EPSILON, xtol=1e-6))


def _chance(canaries: int, guesses: int, right: int, epsilon: float, delta: float) -> float:
    """Return a bound on the chance of so many right guesses when the mechanism is (epsilon, delta)-private."""
    rate = 1 / (1 + math.exp(-epsilon))
    alone = float(stats.binom.sf(right - 1, guesses, rate))
    tails = np.cumsum(stats.binom.pmf(right - np.arange(1, right + 1), guesses, rate))
    worst = float(np.max(tails / np.arange(1, right + 1), initial=0.0))
    return min(1.0, alone + 2 * canaries * delta * worst)


def gaussian_epsilon(canaries: Canaries, delta: float, confidence: float = CONFIDENCE) -> float:
    """Return a lower bound on the epsilon, at `delta`, of a Gaussian mechanism that gave these scores."""
    inside, outside = canaries.scores[canaries.included], canaries.scores[~canaries.included]
    freedom = canaries.scores.size - 2
    pooled = math.sqrt((_squares(inside) + _squares(outside)) / freedom)
    if pooled == 0:
        return MOST_EPSILON if inside.mean() > outside.mean() else 0.0
    effective = math.sqrt(inside.size * outside.size / canaries.scores.size)
    observed = float(inside.mean() - outside.mean()) / pooled * effective
    if stats.t.sf(observed, freedom) >= 1 - confidence:
        return 0.0

    def excess(shift: float) -> float:
        return float(stats.nct.sf(observed, freedom, shift)) - (1 - confidence)

    shift = float(optimize.brentq(excess, 0.0, observed, xtol=1e-9))
    return min(MOST_EPSILON, accounting.epsilon([effective / shift], delta))


def _squares(values: NDArray[np.float64]) -> float:
    return float(((values - values.mean()) ** 2).sum())


@dataclass(frozen=True)
class NoiseSeen:
    """The noise of releases, where exact sums are known.

    Args:
        rounds: one vector of noise per release, each over the deviation that was accounted for.
        shares: variance that was stated for each, over that of the mechanism.
    """

    rounds: tuple[NDArray[np.float64], ...]
    shares: tuple[float, ...]

    def too_small(self) -> float:
        """Return the chance of noise as small as this when it is what was stated; near 0 where some is missing."""
        total = sum(float((noise**2).sum()) / share for noise, share in zip(self.rounds, self.shares, strict=True))
        return float(stats.chi2.cdf(total, sum(noise.size for noise in self.rounds)))

    def repeated(self) -> float:
        """Return the chance of releases whose noise is as alike as the most alike two, if all of it is fresh."""
        pairs = [
            (first, second)
            for place, first in enumerate(self.rounds)
            for second in self.rounds[place + 1 :]
            if first.size == second.size
        ]
        if not pairs:
            return 1.0
        least = min(float(stats.pearsonr(first, second).pvalue) for first, second in pairs)
        return min(1.0, least * len(pairs))
