"""The kinds of release that a (population, purpose) makes, each as the one number that a ledger composes.

Rounds, metrics, histograms and bins of features are all Gaussian releases of sums in which every customer takes
part. A line of a ledger is therefore its noise multiplier, and all lines of a purpose compose exactly to one
Gaussian (`privacy.accounting`). No kind is sampled and none is pure epsilon, so nothing else has to be composed;
one that were would need the composition of privacy-loss distributions, and a line of another form.
"""

import math
from collections.abc import Sequence

from privacy.errors import InvalidContributionError
from privacy.mechanisms import GridGaussian

GRID = 2.0**-10
"""Step of sums of counts and of bounded numbers, in units of the largest number that one customer adds to one."""


def histograms(count: int, noise_multiplier: float) -> GridGaussian:
    """Return the noise of `count` histograms that are released together, in each of which a customer is once.

    Bins of features are read off such histograms; a customer who joins moves one count of each by one.

    Raises:
        InvalidContributionError: there are none, or the noise multiplier is not positive and finite.
    """
    return metrics([1.0] * count, noise_multiplier)


def metrics(bounds: Sequence[float], noise_multiplier: float) -> GridGaussian:
    """Return the noise of sums that are released together, to each of which a customer adds a bounded number.

    Args:
        bounds: largest magnitude of what one customer adds to each sum; 1 for a count.
        noise_multiplier: standard deviation of the noise over the sensitivity.

    Raises:
        InvalidContributionError: there are none, or a number is not positive and finite.
    """
    if not bounds or not all(math.isfinite(bound) and bound > 0 for bound in bounds):
        raise InvalidContributionError("Sums that are released need positive and finite bounds per customer.")
    grid = max(bounds) * GRID
    return GridGaussian(math.hypot(*bounds) + math.sqrt(len(bounds)) * grid, noise_multiplier, grid)
