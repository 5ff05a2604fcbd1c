"""From values to cells: the public grid on which every brand counts, declared before anyone saw the data."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from client.errors import FeatureError
from client.features.table import Column, CustomerTable
from consent.contract import CategoricalFeature, Feature, NumericFeature


def cells(table: CustomerTable, features: Sequence[Feature], cells: int) -> NDArray[np.int16]:
    """Encode `table` as an (n, d) array of cell indices, column j on feature j's grid (see `plan.layout`).

    A number is clamped to its public bounds and falls into one of `cells` equal cells of the line, or of
    sign(x) log(1 + |x|) when its scale is "log"; a level has its own cell. Missing numbers and unlisted
    levels fall into the last cell.

    Raises:
        FeatureError: the table lacks a feature, or has one of the wrong kind.
    """
    encoded = np.empty((len(table), len(features)), dtype=np.int16)
    for j, feature in enumerate(features):
        column = table.columns.get(feature.name)
        if column is None:
            raise FeatureError(f"The table has no column {feature.name!r}; extract it before encoding.")
        encoded[:, j] = (
            _numeric(column, feature, cells) if isinstance(feature, NumericFeature) else _level(column, feature)
        )
    return encoded


def _numeric(column: Column, feature: NumericFeature, cells: int) -> NDArray[np.int16]:
    if column.dtype != np.float64:
        raise FeatureError(f"Feature {feature.name!r} is declared numeric, but its column holds levels.")
    values = column.astype(np.float64)
    missing = np.isnan(values)
    clamped = np.clip(np.where(missing, feature.lower, values), feature.lower, feature.upper)
    line = np.array([feature.lower, feature.upper, *clamped])
    if feature.scale == "log":
        line = np.sign(line) * np.log1p(np.abs(line))
    # Halved first, so that bounds of opposite sign near the largest float do not overflow.
    lower, upper, points = line[0] / 2, line[1] / 2, line[2:] / 2
    position = (points - lower) / (upper - lower) if upper > lower else np.zeros_like(points)
    index = np.clip(np.floor(position * cells), 0, cells - 1)
    return np.where(missing, cells, index).astype(np.int16)


def _level(column: Column, feature: CategoricalFeature) -> NDArray[np.int16]:
    if column.dtype == np.float64:
        raise FeatureError(f"Feature {feature.name!r} is declared categorical, but its column holds numbers.")
    index = {level: position for position, level in enumerate(feature.levels)}
    missing = len(feature.levels)
    return np.fromiter((index.get(value, missing) for value in column), dtype=np.int16, count=len(column))
