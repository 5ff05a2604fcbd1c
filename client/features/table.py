"""The feature table: one row per customer, in the brand's memory only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.errors import FeatureError

Column = NDArray[np.float64] | NDArray[np.object_]


@dataclass(frozen=True, eq=False)
class CustomerTable:
    """Customers and their columns, all of one length.

    Numeric columns are float64 with NaN for missing, categorical ones object arrays of `str` or None; labels
    are int8 0 or 1. `customers` are the brand's own ids and never leave it.
    """

    customers: tuple[str, ...]
    columns: Mapping[str, Column]
    labels: NDArray[np.int8] | None = None
    merged: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """For customers whom several ids were merged into, all of them: consent must hold for each."""

    def __post_init__(self) -> None:
        """Refuse columns of different lengths."""
        lengths = {name: len(column) for name, column in self.columns.items()}
        if self.labels is not None:
            lengths["labels"] = len(self.labels)
        wrong = [name for name, length in lengths.items() if length != len(self.customers)]
        if wrong:
            raise FeatureError(f"Columns {', '.join(wrong)} do not have one value for each customer.")

    def __len__(self) -> int:
        return len(self.customers)

    def select(self, rows: NDArray[np.bool_] | NDArray[np.integer[Any]]) -> "CustomerTable":
        """Return the customers under a boolean mask, or at given positions in the order given."""
        positions = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
        return CustomerTable(
            customers=tuple(self.customers[i] for i in positions.tolist()),
            columns={name: column[positions] for name, column in self.columns.items()},
            labels=None if self.labels is None else self.labels[positions],
            merged=self.merged,
        )
