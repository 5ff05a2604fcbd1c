"""The Gaussian mechanism on a fixed-point grid: sums are exact integers before and after noise."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from privacy.errors import InvalidContributionError
from privacy.randomness import NoiseSource

_MAX_STEPS = 2**53
"""Largest magnitude, in grid steps, at which every integer is exact in double precision."""

_MAX_DEVIATION_STEPS = 2**48
"""Largest standard deviation of the noise, in grid steps: no draw of it leaves the exact integers."""


@dataclass(frozen=True)
class GridGaussian:
    """Gaussian noise on a sum that is first rounded to a grid.

    The sum is rounded to multiples of `grid`; noise of standard deviation `noise_multiplier * sensitivity` is
    rounded to the same grid. As the rounded sum lies on the grid, the release is a post-processing of the
    real-valued Gaussian mechanism on it and costs the same. Neither the order of a floating-point sum nor the
    low bits of a draw can be seen in what is released (Mironov, "On significance of the least significant
    bits for differential privacy", 2012).

    Args:
        sensitivity: largest L2 change of the rounded sum when one customer joins or leaves.
        noise_multiplier: standard deviation of the noise over the sensitivity.
        grid: step of the grid, in units of the sum.
    """

    sensitivity: float
    noise_multiplier: float
    grid: float

    def __post_init__(self) -> None:
        for name in ("sensitivity", "noise_multiplier", "grid"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise InvalidContributionError(f"{name} must be positive and finite, got {value}.")
        if not self.standard_deviation / self.grid <= _MAX_DEVIATION_STEPS:
            raise InvalidContributionError(
                "The noise does not fit the grid: it would overflow, and hide nothing; raise epsilon or delta."
            )

    @property
    def standard_deviation(self) -> float:
        """Standard deviation of the noise on each coordinate, in units of the sum."""
        return self.noise_multiplier * self.sensitivity

    def release(self, exact_sum: NDArray[np.float64], noise: NoiseSource) -> NDArray[np.int64]:
        """Return the noised sum, shape (p,), in grid steps.

        Raises:
            InvalidContributionError: the sum is not finite or does not fit the grid.
        """
        return self.to_grid(exact_sum) + self.draw(exact_sum.size, noise)

    def draw(self, size: int, noise: NoiseSource) -> NDArray[np.int64]:
        """Return fresh noise for `size` coordinates, in grid steps."""
        steps = noise.normal(size) * (self.standard_deviation / self.grid)
        return np.rint(steps).astype(np.int64)

    def to_grid(self, exact_sum: NDArray[np.float64]) -> NDArray[np.int64]:
        """Round a sum, shape (p,), to grid steps.

        Raises:
            InvalidContributionError: the sum is not finite or does not fit the grid.
        """
        steps = np.rint(exact_sum / self.grid)
        if not np.all(np.abs(steps) < _MAX_STEPS):
            raise InvalidContributionError("The sum is not finite or does not fit the grid; nothing is released.")
        return steps.astype(np.int64)

    def from_grid(self, steps: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return a sum, shape (p,), in its own units."""
        return steps.astype(np.float64) * self.grid
