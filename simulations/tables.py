"""Labelled customer tables from CSV files: types and bounds read off the file, and taken as public.

In a deployment a task declares each feature's type, bounds and levels before anyone sees data. A table
that comes without a declaration is described here from its own values, which a real brand must not do:
`simulate` says so in its output.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from client.features.table import Column, CustomerTable
from consent.contract import CategoricalFeature, Feature, NumericFeature
from simulations.errors import InputError

MAX_FILE_BYTES = 2 * 1024**3
MAX_NAME, MAX_FEATURES = 128, 512
"""Longest name and most features that a task can declare."""

NUMERIC_SHARE = 0.95
"""A text column is numeric when at least this share of its values are numbers."""

FEW_VALUES = 10
"""A numeric column with no more distinct values is a category."""

MAX_LEVELS = 100
"""A text column with more distinct values tells customers apart rather than describing them."""

HEAVY_TAIL_SPREADS, HEAVY_TAIL_RANGE = 8.0, 50.0
"""A column whose range is wider than both, in standard deviations and in its own units, gets a log scale."""

POSITIVE_WORDS = frozenset({"1", "y", "yes", "true", "t"})


@dataclass(frozen=True)
class LabelledTable:
    """A table that a federation can be simulated on.

    Attributes:
        customers: every row as one customer, named by its position, with labels.
        features: the public description of the columns in use.
        positive: the target's value that counts as 1.
        ignored: columns left out, each with the reason.
    """

    customers: CustomerTable
    features: tuple[Feature, ...]
    positive: str
    ignored: tuple[str, ...]


def read_table(path: Path, *, target: str, drop: Sequence[str] = ()) -> LabelledTable:
    """Read a CSV file with a header, one customer a row.

    Raises:
        InputError: the file or a column can not be used; one sentence says which and what to do.
    """
    frame = _read(path)
    _check_columns(frame, target, drop)
    frame = frame[frame[target].notna()].reset_index(drop=True)
    labels, positive = _labels(frame[target], target)
    columns: dict[str, Column] = {}
    features: list[Feature] = []
    ignored = [f"{name} (dropped on request)" for name in drop]
    for name in frame.columns.drop([target, *drop]):
        described = _describe(str(name), frame[name])
        if isinstance(described, str):
            ignored.append(f"{name} ({described})")
        else:
            features.append(described[0])
            columns[str(name)] = described[1]
    if not features:
        raise InputError(f"{path.name} has no usable feature column: {', '.join(ignored)}. Give other columns.")
    if len(features) > MAX_FEATURES:
        raise InputError(f"{path.name} has {len(features)} usable columns; a task has {MAX_FEATURES} at most.")
    customers = tuple(f"row-{number}" for number in range(len(frame)))
    return LabelledTable(CustomerTable(customers, columns, labels), tuple(features), positive, tuple(ignored))


def _read(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise InputError(f"There is no file {path}; check the path.")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise InputError(f"{path.name} is over {MAX_FILE_BYTES >> 30} GiB; simulate on a sample of it.")
    try:
        frame = pd.read_csv(path, skipinitialspace=True, low_memory=False, encoding="utf-8-sig")
    except pd.errors.EmptyDataError:
        raise InputError(f"{path.name} is empty; give a CSV file with a header and one customer a row.") from None
    except (pd.errors.ParserError, UnicodeDecodeError, ValueError):
        raise InputError(f"{path.name} is not a CSV file in UTF-8; export it again as one.") from None
    frame.columns = frame.columns.map(str)
    if frame.empty:
        raise InputError(f"{path.name} has a header but no rows; give one customer a row.")
    return frame


def _check_columns(frame: pd.DataFrame, target: str, drop: Sequence[str]) -> None:
    known = ", ".join(frame.columns[:40])
    for name in (target, *drop):
        if name not in frame.columns:
            raise InputError(f"There is no column {name!r}; the file has: {known}.")
    if len(target) > MAX_NAME:
        raise InputError(f"The target's name has over {MAX_NAME} characters; rename the column.")
    if target in drop:
        raise InputError(f"The target {target!r} can not be dropped as well; name one of them differently.")
    if not frame[target].notna().any():
        raise InputError(f"The target {target!r} is missing in every row; choose another column.")


def _labels(column: pd.Series, target: str) -> tuple[NDArray[np.int8], str]:
    values = column.astype(str).str.strip()
    counts = values.value_counts()
    if len(counts) == 1:
        raise InputError(f"The target {target!r} has one class only ({counts.index[0]!r}); both must occur.")
    if len(counts) > 2:
        raise InputError(f"The target {target!r} has {len(counts)} distinct values; a conversion has two.")
    positive = _positive(counts)
    return (values == positive).to_numpy().astype(np.int8), positive


def _positive(counts: pd.Series) -> str:
    """Return the value that counts as 1: a word for yes, else the larger number, else the rarer value."""
    first, second = (str(value) for value in counts.index)
    for one, other in ((first, second), (second, first)):
        if one.lower() in POSITIVE_WORDS and other.lower() not in POSITIVE_WORDS:
            return one
    try:
        return max(first, second, key=float)
    except ValueError:
        return second


def _describe(name: str, column: pd.Series) -> tuple[Feature, Column] | str:
    """Return a column's public description and values, or the reason to ignore it."""
    if not 0 < len(name) <= MAX_NAME:
        return f"its name has over {MAX_NAME} characters, or none"
    values = (
        column.map(lambda value: value.strip() or None, na_action="ignore") if column.dtype == object else column
    )
    if not values.notna().any():
        return "missing in every row"
    distinct = values.nunique()
    if distinct == 1:
        return "the same in every row"
    numbers = pd.to_numeric(values, errors="coerce").astype(np.float64)
    numbers = numbers.where(np.isfinite(numbers))
    is_numeric = numbers.notna().sum() >= NUMERIC_SHARE * values.notna().sum()
    if is_numeric and numbers.nunique() > FEW_VALUES:
        return _numeric(name, numbers.to_numpy())
    if distinct > MAX_LEVELS:
        return f"{distinct} distinct values look like identifiers or free text"
    return _categorical(name, values)


def _numeric(name: str, numbers: NDArray[np.float64]) -> tuple[Feature, Column]:
    lower, upper = float(np.nanmin(numbers)), float(np.nanmax(numbers))
    spread = float(np.nanstd(numbers))
    heavy = upper - lower > max(HEAVY_TAIL_SPREADS * spread, HEAVY_TAIL_RANGE)
    feature = NumericFeature(name=name, lower=lower, upper=upper, scale="log" if heavy else "linear")
    return feature, numbers


def _categorical(name: str, values: pd.Series) -> tuple[Feature, Column]:
    texts = values.map(str, na_action="ignore").astype(object).where(values.notna(), None).to_numpy(dtype=object)
    levels = tuple(sorted({text for text in texts if text is not None}))
    return CategoricalFeature(name=name, levels=levels), texts
