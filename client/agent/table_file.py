"""Customers from a CSV file that already has a task's columns, read when a round first needs them."""

from pathlib import Path

import numpy as np
import pandas as pd

from client.errors import FeatureError
from client.features import CustomerTable
from client.features.table import Column
from consent.contract import NumericFeature, TaskSpec


class TableFile:
    """A `CustomerSource` over a CSV file with a header, one customer a row.

    Args:
        path: the file.
        id_column: the column that names customers.
    """

    def __init__(self, path: Path, id_column: str) -> None:
        self._path = path
        self._id_column = id_column

    def training_table(self, task: TaskSpec) -> CustomerTable:
        """Return the task's columns and label; the label's column holds 0 and 1.

        Raises:
            FeatureError: the file lacks a column, or the label is not 0 or 1.
        """
        frame = pd.read_csv(self._path, dtype={self._id_column: str})
        needed = [self._id_column, task.label.name, *(feature.name for feature in task.features)]
        missing = [name for name in needed if name not in frame.columns]
        if missing:
            raise FeatureError(f"The customer table lacks the columns {', '.join(missing)}.")
        labels = frame[task.label.name].to_numpy()
        if not np.isin(labels, (0, 1)).all():
            raise FeatureError(f"The label column {task.label.name!r} must hold 0 and 1 only.")
        columns: dict[str, Column] = {}
        for feature in task.features:
            values = frame[feature.name]
            if isinstance(feature, NumericFeature):
                columns[feature.name] = pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64)
            else:
                texts = values.map(str, na_action="ignore").astype(object)
                columns[feature.name] = texts.where(values.notna(), None).to_numpy(dtype=object)
        return CustomerTable(tuple(frame[self._id_column]), columns, labels.astype(np.int8))
