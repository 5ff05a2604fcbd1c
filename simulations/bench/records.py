"""A benchmark's results: one record per metric, honest about its target and how it was measured."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from consent.files import write_atomically


@dataclass(frozen=True)
class Record:
    """One figure.

    Attributes:
        metric: what was measured.
        value: the figure to quote: the median of the repetitions, unless `how` says otherwise.
        unit: of the value.
        target: what it should reach; None where there is none.
        met: whether it does; None without a target.
        how: the command, the peer measured in the same run, repetitions and spread.
    """

    metric: str
    value: float
    unit: str
    target: float | None
    met: bool | None
    how: str


def at_least(metric: str, value: float, unit: str, target: float, how: str) -> Record:
    """Return a record whose target is a floor."""
    return Record(metric, value, unit, target, value >= target, how)


def at_most(metric: str, value: float, unit: str, target: float, how: str) -> Record:
    """Return a record whose target is a ceiling."""
    return Record(metric, value, unit, target, value <= target, how)


def spread(values: Sequence[float]) -> str:
    """Say minimum, median and maximum of repetitions."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{len(values)} repetitions, min {low:.4g}, median {middle:.4g}, max {high:.4g}"


def write_records(records: Sequence[Record], path: Path) -> None:
    """Write records as a JSON list."""
    write_atomically(path, json.dumps([asdict(record) for record in records], indent=2).encode() + b"\n")
