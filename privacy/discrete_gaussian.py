"""The discrete Gaussian, drawn exactly: the noise of which every brand adds a share on the integers.

Probability of an integer x: proportional to exp(-x^2 / (2 s^2)) (Canonne, Kamath and Steinke, "The discrete
Gaussian for differential privacy", 2020, definition 1). A draw picks a cell of magnitudes from a table and a
magnitude within it uniformly, then accepts it with the exact ratio of the two densities; a comparison that double
precision can not decide is decided with more digits and more random bits. What is left inexact is the table,
rounded at 2^-128 and cut at 15 standard deviations: less than 2^-118 in total variation for a draw.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import mpmath
import numpy as np
from numpy.typing import NDArray

from privacy.errors import InvalidContributionError
from privacy.randomness import RandomBytes

TAIL = 15
"""Magnitudes beyond so many standard deviations are never drawn: they have less than 2^-160 together."""
CELLS_PER_DEVIATION = 8
TABLE_BITS = 128
UNDECIDED = 2.0**-45
"""Comparisons that are closer than this are left to more digits; the error of double precision is below 2^-49."""
MORE_BITS = 192
MAX_DEVIATION = 2**28
"""Largest standard deviation for which products of magnitudes are exact in 64 bits."""


@dataclass(frozen=True)
class DiscreteGaussian:
    """The distribution of one coordinate of the noise.

    Args:
        variance: the parameter s^2, a positive integer; the variance of a draw is at most that.
    """

    variance: int

    def __post_init__(self) -> None:
        if not 1 <= self.variance <= MAX_DEVIATION**2:
            raise InvalidContributionError(
                f"The noise's variance must be from 1 to 2^56 squared grid steps, got {self.variance}; "
                f"choose another grid."
            )

    def draw(self, size: int, random_bytes: RandomBytes) -> NDArray[np.int64]:
        """Return `size` independent draws.

        Args:
            size: how many.
            random_bytes: a CSPRNG.
        """
        drawn = np.empty(size, dtype=np.int64)
        filled = 0
        while filled < size:
            accepted = self._propose(size - filled, random_bytes)
            drawn[filled : filled + accepted.size] = accepted
            filled += accepted.size
        return drawn

    @cached_property
    def _width(self) -> int:
        return max(1, math.isqrt(self.variance) // CELLS_PER_DEVIATION)

    @cached_property
    def _thresholds(self) -> tuple[NDArray[np.uint64], tuple[int, ...]]:
        """Return cumulative weights of the cells: the upper 64 bits of each, and all 128."""
        with mpmath.workprec(2 * TABLE_BITS):
            cells = TAIL * (math.isqrt(self.variance) + 1) // self._width + 1
            weights = [
                mpmath.exp(-(mpmath.mpf(cell * self._width) ** 2) / (2 * self.variance)) for cell in range(cells)
            ]
            total, running, exact = mpmath.fsum(weights), mpmath.mpf(0), []
            for weight in weights:
                running += weight
                exact.append(int(mpmath.floor(running / total * 2**TABLE_BITS)))
        exact[-1] = 2**TABLE_BITS
        upper = np.array([min(one >> 64, 2**64 - 1) for one in exact], dtype=np.uint64)
        return upper, tuple(exact)

    def _propose(self, size: int, random_bytes: RandomBytes) -> NDArray[np.int64]:
        words = np.frombuffer(random_bytes(24 * size), dtype=np.uint64).reshape(3, size)
        cells = self._cells(words[0], random_bytes)
        within = _below(self._width, size, random_bytes)
        excess = within * (2 * cells * self._width + within)
        magnitude = cells * self._width + within
        negative = (words[1] & np.uint64(1)).astype(bool)
        kept = self._accepts(excess, words[2], random_bytes) & ~(negative & (magnitude == 0))
        return np.asarray(np.where(negative, -magnitude, magnitude)[kept], dtype=np.int64)

    def _cells(self, words: NDArray[np.uint64], random_bytes: RandomBytes) -> NDArray[np.int64]:
        upper, exact = self._thresholds
        cells = np.searchsorted(upper, words, side="right").astype(np.int64)
        for place in np.flatnonzero(np.isin(words, upper)):
            lower = int.from_bytes(random_bytes(8), "big")
            whole = (int(words[place]) << 64) | lower
            cells[place] = next(cell for cell, limit in enumerate(exact) if whole < limit)
        return cells

    def _accepts(
        self, excess: NDArray[np.int64], words: NDArray[np.uint64], random_bytes: RandomBytes
    ) -> NDArray[np.bool_]:
        """Accept each with probability exp(-excess / (2 s^2))."""
        chances = np.exp(-excess.astype(np.float64) / (2.0 * self.variance))
        uniform = words.astype(np.float64) * 2.0**-64
        accepted = uniform < chances
        for place in np.flatnonzero(np.abs(uniform - chances) < UNDECIDED):
            more = int.from_bytes(random_bytes(MORE_BITS // 8), "big")
            whole = (int(words[place]) << MORE_BITS) | more
            with mpmath.workprec(2 * MORE_BITS):
                chance = mpmath.exp(-mpmath.mpf(int(excess[place])) / (2 * self.variance))
                accepted[place] = mpmath.mpf(whole) < chance * mpmath.mpf(2) ** (64 + MORE_BITS)
        return accepted


def _below(limit: int, size: int, random_bytes: RandomBytes) -> NDArray[np.int64]:
    """Return uniform integers below `limit`, without the bias of a remainder."""
    if limit == 1:
        return np.zeros(size, dtype=np.int64)
    mask = np.uint64((1 << (limit - 1).bit_length()) - 1)
    drawn = np.empty(size, dtype=np.int64)
    filled = 0
    while filled < size:
        words = np.frombuffer(random_bytes(8 * (size - filled)), dtype=np.uint64) & mask
        fit = words[words < limit].astype(np.int64)
        drawn[filled : filled + fit.size] = fit
        filled += fit.size
    return drawn
