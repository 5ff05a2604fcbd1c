"""Every value has a cell within range, larger values never have an earlier cell, and missing has its own."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.errors import FeatureError
from client.features import CustomerTable, cells
from consent.contract import CategoricalFeature, NumericFeature
from consent.contract.plan import layout

finite = st.floats(allow_nan=False, allow_infinity=False)
bounds = st.tuples(finite, finite).filter(lambda pair: pair[0] != pair[1]).map(sorted)
scales = st.sampled_from(["linear", "log"])


def encode(values: list[float], feature: NumericFeature, count: int) -> list[int]:
    table = CustomerTable(
        tuple(f"c{i}" for i in range(len(values))), {feature.name: np.array(values, dtype=np.float64)}
    )
    encoded = cells(table, (feature,), count)
    assert (encoded.dtype, encoded.shape) == (np.int16, (len(values), 1))
    return [int(cell) for cell in encoded[:, 0]]


@given(values=st.lists(st.floats(), max_size=20), limits=bounds, scale=scales, count=st.integers(4, 256))
def test_any_float_has_a_cell_in_range_and_order_is_kept(
    values: list[float], limits: list[float], scale: str, count: int
) -> None:
    feature = NumericFeature(name="x", lower=limits[0], upper=limits[1], scale=scale)
    ordered = sorted((value for value in values if not math.isnan(value)), key=float)
    found = encode([*ordered, math.nan], feature, count)
    assert found[-1] == count == layout(feature, count).cells - 1
    assert all(0 <= cell < count for cell in found[:-1])
    assert found[:-1] == sorted(found[:-1])


@given(limits=bounds, scale=scales, count=st.integers(4, 256))
def test_what_lies_outside_falls_into_the_outer_cells(limits: list[float], scale: str, count: int) -> None:
    feature = NumericFeature(name="x", lower=limits[0], upper=limits[1], scale=scale)
    low, at_low, at_high, high = encode([-math.inf, limits[0], limits[1], math.inf], feature, count)
    assert low == at_low == 0
    assert at_high == high


def test_linear_cells_are_equally_wide() -> None:
    feature = NumericFeature(name="x", lower=0, upper=8)
    assert encode([0, 0.99, 1, 4, 7.99, 8], feature, 8) == [0, 0, 1, 4, 7, 7]


def test_log_cells_are_equally_wide_in_ratios_and_symmetric_around_zero() -> None:
    edge = math.expm1(1)
    assert encode(
        [0, edge - 0.01, edge + 0.01], NumericFeature(name="x", lower=0, upper=math.expm1(4), scale="log"), 4
    ) == [0, 0, 1]
    around = NumericFeature(name="x", lower=-100, upper=100, scale="log")
    assert encode([-100, -0.001, 0.001, 100], around, 4) == [0, 1, 2, 3]


def test_bounds_near_the_largest_float_do_not_overflow() -> None:
    assert encode(
        [-1.7e308, -1e307, 1e307, 1.7e308], NumericFeature(name="x", lower=-1.7e308, upper=1.7e308), 4
    ) == [
        0,
        1,
        2,
        3,
    ]


@given(levels=st.lists(st.none() | st.sampled_from(["a", "b", "z", ""]), max_size=8))
def test_unlisted_levels_count_as_missing(levels: list[str | None]) -> None:
    feature = CategoricalFeature(name="x", levels=("a", "b"))
    column = np.array(levels, dtype=object)
    found = cells(CustomerTable(tuple(str(i) for i in range(len(levels))), {"x": column}), (feature,), 16)
    assert found[:, 0].tolist() == [{"a": 0, "b": 1}.get(level or "", 2) for level in levels]
    assert layout(feature, 16).cells == 3


def test_columns_that_do_not_fit_their_feature_are_refused() -> None:
    table = CustomerTable(("c",), {"x": np.array([1.0]), "y": np.array(["a"], dtype=object)})
    number, level = NumericFeature(name="y", lower=0, upper=1), CategoricalFeature(name="x", levels=("a",))
    for feature in (number, level, NumericFeature(name="z", lower=0, upper=1)):
        with pytest.raises(FeatureError):
            cells(table, (feature,), 8)
