"""Bins and feature maps made from noisy histograms alone: post-processing, free of further cost.

A customer's features arrive as cells of public grids. The noisy histogram of each feature decides which
cells form a bin: about equal noisy mass, and never less than the noise can tell from zero. Each bin is then
a vector: for ordered features neighbouring bins share most of theirs (a kernel square root over mass rank),
so that a shape function is smooth unless the data insist; for unordered ones the vectors are orthogonal.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SMOOTH_SHARE = 0.8
WIDE, NARROW = 0.25, 0.07
"""Length scales, in units of mass rank, of the two radial kernels behind an ordered feature's vectors."""

NOISE_FLOOR = 1.0
"""A bin holds at least this many standard deviations of its own noise.

A bin of noise alone costs little (few customers are in it), while a rare level or a thin tail that is merged
away is lost: on the reference tables a floor of 3 costs up to .007 AUC against 1 at epsilon 1 with five brands.
"""

MINIMUM_SHARE = 0.004
CONSTANT = 0.3
"""Value of the coordinate that carries the intercept."""


@dataclass(frozen=True)
class CellLayout:
    """The public grid of one feature: `cells` cells, the last of which means missing or unlisted."""

    cells: int
    ordered: bool


@dataclass(frozen=True)
class FeatureMap:
    """From cells to vectors: cell c of feature f becomes `vectors[offsets[f] + c]`; a constant follows."""

    offsets: NDArray[np.int64]
    vectors: NDArray[np.float64]

    @property
    def dimension(self) -> int:
        """Length p of a customer's vector, the constant included."""
        return int(self.vectors.shape[1]) + 1

    def embed(self, cells: NDArray[np.int16]) -> NDArray[np.float64]:
        """Return customers' vectors, shape (n, p), from their cells, shape (n, d)."""
        rows = cells.shape[0]
        embedded = np.zeros((rows, self.dimension))
        embedded[:, -1] = CONSTANT
        for feature, offset in enumerate(self.offsets):
            embedded[:, :-1] += self.vectors[offset + cells[:, feature]]
        return embedded


def feature_map(
    histograms: Sequence[NDArray[np.float64]],
    layouts: Sequence[CellLayout],
    *,
    noise_deviation: float,
    population: float,
    max_bins: int,
) -> FeatureMap:
    """Make the map from one noisy histogram per feature.

    Args:
        histograms: noisy counts, one array of shape (cells,) per feature.
        layouts: the features' grids, in the same order.
        noise_deviation: standard deviation of the noise on one count.
        population: noisy number of customers, positive.
        max_bins: most bins of an ordered feature.
    """
    blocks = []
    for histogram, layout in zip(histograms, layouts, strict=True):
        floor = _Floor(noise_deviation, population * MINIMUM_SHARE)
        bins = (_ordered_bins if layout.ordered else _unordered_bins)(histogram, floor, population / max_bins)
        blocks.append(_vectors(bins, histogram, ordered=layout.ordered) / math.sqrt(len(layouts)))
    width = sum(block.shape[1] for block in blocks)
    vectors = np.zeros((sum(block.shape[0] for block in blocks), width))
    offsets = np.cumsum([0, *(block.shape[0] for block in blocks[:-1])])
    column = 0
    for offset, block in zip(offsets, blocks, strict=True):
        vectors[offset : offset + block.shape[0], column : column + block.shape[1]] = block
        column += block.shape[1]
    return FeatureMap(offsets=offsets.astype(np.int64), vectors=vectors)


@dataclass(frozen=True)
class _Floor:
    """Least noisy mass of a bin, by how many cells' noise it sums."""

    deviation: float
    minimum: float

    def accepts(self, mass: float, cells: int) -> bool:
        return mass >= max(NOISE_FLOOR * self.deviation * math.sqrt(cells), self.minimum)


def _ordered_bins(histogram: NDArray[np.float64], floor: _Floor, target: float) -> NDArray[np.int64]:
    """Return the bin of each cell, -1 for none; values fill bins from low to high, missing has its own."""
    bins = np.full(histogram.size, -1, dtype=np.int64)
    starts, mass = [0], 0.0
    values_end = histogram.size - 1
    for cell in range(values_end):
        mass += histogram[cell]
        if mass >= target and floor.accepts(mass, cell + 1 - starts[-1]):
            starts.append(cell + 1)
            mass = 0.0
    while len(starts) > 1 and not floor.accepts(
        float(histogram[starts[-1] : values_end].sum()), values_end - starts[-1]
    ):
        starts.pop()
    bins[:values_end] = np.searchsorted(starts, np.arange(values_end), side="right") - 1
    if floor.accepts(histogram[-1], 1):
        bins[-1] = int(bins[:-1].max(initial=-1)) + 1
    return bins


def _unordered_bins(histogram: NDArray[np.float64], floor: _Floor, _target: float) -> NDArray[np.int64]:
    """Return the bin of each cell, -1 for none; levels too rare to tell from noise share one bin."""
    bins = np.full(histogram.size, -1, dtype=np.int64)
    common = [cell for cell in range(histogram.size) if floor.accepts(histogram[cell], 1)]
    bins[common] = np.arange(len(common))
    rare = np.flatnonzero(bins < 0)
    if rare.size and floor.accepts(float(histogram[rare].sum()), rare.size):
        bins[rare] = len(common)
    return bins


def _vectors(bins: NDArray[np.int64], histogram: NDArray[np.float64], *, ordered: bool) -> NDArray[np.float64]:
    """Return a vector per cell, shape (cells, bins), centred under the noisy marginal; zero without a bin."""
    count = int(bins.max(initial=-1)) + 1
    if count < 2:  # noqa: PLR2004 - one bin tells customers apart no more than none
        return np.zeros((bins.size, 0))
    mass = np.zeros(count)
    np.add.at(mass, bins[bins >= 0], np.maximum(histogram[bins >= 0], 0.0))
    share = mass / max(mass.sum(), 1.0)
    has_missing = bool(ordered and bins[-1] >= 0)
    basis = _basis(share, ordered=ordered, has_missing=has_missing)
    centred = basis - share @ basis
    cells = np.zeros((bins.size, count))
    cells[bins >= 0] = centred[bins[bins >= 0]]
    return cells


def _basis(share: NDArray[np.float64], *, ordered: bool, has_missing: bool) -> NDArray[np.float64]:
    """Return a row per bin with unit norm: the kernel's square root, missing orthogonal to all values."""
    count = share.size
    if not ordered:
        return np.eye(count)
    values = count - int(has_missing)
    rank = np.cumsum(share[:values]) - share[:values] / 2
    square = (rank[:, None] - rank[None, :]) ** 2
    radial = 0.5 * np.exp(-square / (2 * WIDE**2)) + 0.5 * np.exp(-square / (2 * NARROW**2))
    kernel = np.eye(count)
    kernel[:values, :values] = SMOOTH_SHARE * radial + (1 - SMOOTH_SHARE) * np.eye(values)
    eigenvalues, eigenvectors = np.linalg.eigh(kernel)
    root = eigenvectors * np.sqrt(np.maximum(eigenvalues, 0.0)) @ eigenvectors.T
    return np.asarray(root, dtype=np.float64)
