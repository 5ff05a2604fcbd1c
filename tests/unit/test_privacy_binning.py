"""Bins and feature maps: every bin over the noise floor, bounded vectors, and nothing but released marginals."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from privacy import binning
from privacy.binning import CONSTANT, MINIMUM_SHARE, NOISE_FLOOR, CellLayout, FeatureMap, feature_map

POPULATION = 5_000.0


def noisy_histogram(layout: CellLayout, deviation: float, seed: int) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    counts = rng.dirichlet(np.full(layout.cells, 0.3)) * POPULATION
    return counts + deviation * rng.normal(size=layout.cells)


def one_feature(histogram: NDArray[np.float64], layout: CellLayout, deviation: float) -> FeatureMap:
    return feature_map([histogram], [layout], noise_deviation=deviation, population=POPULATION, max_bins=32)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("layout", [CellLayout(65, ordered=True), CellLayout(20, ordered=False)])
@pytest.mark.parametrize("deviation", [1.0, 15.0, 200.0])
def test_every_bin_is_told_from_noise(layout: CellLayout, deviation: float, seed: int) -> None:
    histogram = noisy_histogram(layout, deviation, seed)
    vectors = one_feature(histogram, layout, deviation).vectors
    bins = {tuple(vector) for vector in vectors if np.any(vector)}
    for vector in bins if len(bins) > 1 else ():
        members = [cell for cell in range(layout.cells) if tuple(vectors[cell]) == vector]
        floor = max(NOISE_FLOOR * deviation * math.sqrt(len(members)), MINIMUM_SHARE * POPULATION)
        holds_all_values = layout.ordered and set(range(layout.cells - 1)) <= set(members)
        if not holds_all_values:
            assert histogram[members].sum() >= floor * (1 - 1e-12)
    assert np.all(np.isfinite(vectors))


@pytest.mark.parametrize("seed", range(5))
def test_vectors_are_bounded_whatever_the_noise(seed: int) -> None:
    layouts = [CellLayout(65, ordered=True), CellLayout(5, ordered=False), CellLayout(17, ordered=True)]
    histograms = [noisy_histogram(layout, 40.0, seed) for layout in layouts]
    features = feature_map(histograms, layouts, noise_deviation=40.0, population=POPULATION, max_bins=32)
    rng = np.random.default_rng(seed)
    cells = np.stack([rng.integers(0, layout.cells, 500) for layout in layouts], axis=1).astype(np.int16)
    embedded = features.embed(cells)
    assert embedded.shape == (500, features.dimension)
    np.testing.assert_array_equal(embedded[:, -1], CONSTANT)
    # A centred row of a unit-norm basis is at most 2 long; features are scaled by 1 / sqrt(d).
    assert np.all(np.linalg.norm(embedded[:, :-1], axis=1) <= 2.0)


def test_a_cell_is_embedded_as_its_own_features_vectors() -> None:
    layouts = [CellLayout(4, ordered=False), CellLayout(6, ordered=False)]
    histograms = [np.full(layout.cells, 500.0) for layout in layouts]
    features = feature_map(histograms, layouts, noise_deviation=1.0, population=3000.0, max_bins=8)
    (row,) = features.embed(np.array([[2, 5]], dtype=np.int16))
    np.testing.assert_array_equal(row[:-1], features.vectors[2] + features.vectors[4 + 5])
    assert not np.any(features.vectors[2][4:])
    assert not np.any(features.vectors[4 + 5][:4])


def test_the_map_depends_on_the_marginals_alone() -> None:
    layout = CellLayout(65, ordered=True)
    histogram = noisy_histogram(layout, 10.0, 1)
    first, second = (one_feature(histogram.copy(), layout, 10.0) for _ in range(2))
    np.testing.assert_array_equal(first.vectors, second.vectors)


def test_levels_below_the_noise_floor_share_one_bin() -> None:
    rng = np.random.default_rng(2)
    layout = CellLayout(20, ordered=False)
    below = 0.95 * binning.NOISE_FLOOR
    features = one_feature(30.0 * np.abs(rng.normal(size=20)).clip(max=below), layout, 30.0)
    distinct = {tuple(vector) for vector in features.vectors}
    assert len(distinct) <= 2


def test_neighbouring_bins_of_an_ordered_feature_are_alike_and_levels_are_not() -> None:
    histogram = np.full(33, 150.0)
    ordered = one_feature(histogram, CellLayout(33, ordered=True), 1.0).vectors
    gram = ordered @ ordered.T
    assert gram[10, 11] > gram[10, 20] > gram[10, 30]
    # Before centring, levels are orthogonal, and so is the cell of missing values to all others.
    for is_ordered, pairs in ((False, ((1, 2), (1, 30))), (True, ((1, 32), (30, 32)))):
        share = np.full(33, 1 / 33)
        basis = binning._basis(share, ordered=is_ordered, has_missing=is_ordered)
        np.testing.assert_allclose(np.linalg.norm(basis, axis=1), 1.0, atol=1e-9)
        for one, other in pairs:
            assert abs(basis[one] @ basis[other]) < 1e-9
