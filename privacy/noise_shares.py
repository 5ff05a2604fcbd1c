"""Noise of a sum that no brand adds alone: every brand adds a discrete Gaussian, and enough of them arrive.

The sum of the shares costs a customer what a continuous Gaussian of the mechanism's deviation costs, so that one
accountant serves both trust modes. Write N(v, u) for the sum over all integers x of exp(-(x - u)^2 / 2v). By
Poisson's summation formula it is sqrt(2 pi v) times a factor between 1 - t(v) and 1 + t(v) for every real u, where
t(v) = 2 (exp(-2 pi^2 v) + exp(-8 pi^2 v) + ...). Two things follow for variances in squared grid steps.

Sums (Kairouz, Liu and Steinke, "The distributed discrete Gaussian mechanism", 2021, theorem 9). Completing the
square, the sum of discrete Gaussians of variances a and b takes the value z with exp(-z^2 / 2(a + b)) N(c, u) /
(N(a, 0) N(b, 0)), where c = ab / (a + b); the discrete Gaussian of variance a + b with exp(-z^2 / 2(a + b)) /
N(a + b, 0). The logarithms differ by at most -4 log(1 - t(c)), whatever z is.

Rounding. Let a continuous Gaussian of variance a - b about an integer be rounded to x with a chance proportional
to exp(-(x - g)^2 / 2b) when it is g. Integrating over g, the logarithm of the probability of x differs from that
of the discrete Gaussian of variance a by at most -2 log(1 - t(b)). A rounding of what a Gaussian mechanism
released costs nothing: the discrete Gaussian of variance a costs what the continuous one of variance a - b costs.

With b = 4 and shares of variance at least 8, so that c is at least 4, t is below 2^-112 and the logarithms differ
by less than 2^-103 for a coordinate of a sum over 100 brands. For 2^12 releases of 2^20 coordinates each that adds
less than 2^-70 to epsilon, and the draws, each right to 2^-118 in total variation, less than 2^-78 (1 + e^epsilon)
to delta. Both are below what double precision tells.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from privacy.discrete_gaussian import DiscreteGaussian
from privacy.errors import InvalidContributionError, TooFewBrandsError
from privacy.randomness import RandomBytes

ROUNDING_VARIANCE = 4
"""What the sum's variance has beyond the mechanism's, in squared grid steps: b in the module's text."""
LEAST_SHARE = 8
"""Least variance of a share, in squared grid steps, for which the module's text holds."""


@dataclass(frozen=True)
class NoiseShares:
    """How the noise of a sum is dealt out to the brands of a run.

    Args:
        deviation_steps: standard deviation that is accounted for, in grid steps.
        brands: brands of the run.
        dropouts: brands that may fail, so that their shares are missing.
        colluders: brands that may tell their shares, so that they hide nothing.

    Raises:
        InvalidContributionError: no brand is left whose noise counts, or the noise can not be drawn exactly.
    """

    deviation_steps: float
    brands: int
    dropouts: int
    colluders: int

    def __post_init__(self) -> None:
        if min(self.dropouts, self.colluders) < 0 or self.fewest < 1:
            raise InvalidContributionError(
                f"Of {self.brands} brands, {self.dropouts} may drop out and {self.colluders} may collude: no "
                f"brand is left whose noise counts; state fewer, or ask more brands."
            )
        if not (math.isfinite(self.deviation_steps) and self.deviation_steps > 0):
            raise InvalidContributionError("The noise's deviation must be positive and finite.")
        _ = self.share

    @property
    def fewest(self) -> int:
        """Brands whose noise is counted on: all but dropouts and colluders."""
        return self.brands - self.dropouts - self.colluders

    @property
    def share(self) -> DiscreteGaussian:
        """The noise of one coordinate that every brand adds."""
        total = Fraction(self.deviation_steps) ** 2 + ROUNDING_VARIANCE
        return DiscreteGaussian(max(LEAST_SHARE, math.ceil(total / self.fewest)))

    def variance_of(self, brands: int) -> int:
        """Return the variance of the sum of so many shares, in squared grid steps."""
        return brands * self.share.variance

    def noise_shares(self, arrived: int) -> float:
        """Return the noise of a sum over `arrived` brands, in units of what is accounted for; at least 1.

        Raises:
            TooFewBrandsError: more dropped out than was stated, so that the sum must not be opened.
        """
        if not self.brands - self.dropouts <= arrived <= self.brands:
            raise TooFewBrandsError(
                f"{arrived} brands of {self.brands} arrived and {self.brands - self.dropouts} are needed: the sum "
                f"would have less noise than is accounted for."
            )
        return arrived / self.fewest

    def draw(self, size: int, random_bytes: RandomBytes) -> NDArray[np.int64]:
        """Return one brand's share for `size` coordinates, in grid steps."""
        return self.share.draw(size, random_bytes)
