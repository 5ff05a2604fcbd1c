"""Judging models on held-out customers: the laboratory's privilege, never a deployed part's."""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from client.features import CustomerTable
from client.features.encoding import cells
from consent.contract import TaskSpec
from consent.contract.plan import solver_for
from privacy.solvers import AdditiveModel, SolverState


def auc(labels: NDArray[np.int8], scores: NDArray[np.float64]) -> float:
    """Return the area under the ROC curve, NaN when only one class is there."""
    return float(roc_auc_score(labels, scores)) if 0 < labels.sum() < len(labels) else math.nan


class HeldOut:
    """Held-out customers of each brand, encoded once.

    Args:
        task: the task whose features and cells encode them.
        tables: each brand's held-out customers, with labels.
    """

    def __init__(self, task: TaskSpec, tables: Mapping[str, CustomerTable]) -> None:
        self._solver = solver_for(task)
        self.cells = {name: cells(table, task.features, task.solver.cells) for name, table in tables.items()}
        self.labels = {name: labels_of(table) for name, table in tables.items()}

    def model(self, state: SolverState) -> AdditiveModel | None:
        """Return the model of a state, or None before there is one."""
        return self._solver.model(state) if state.marginals is not None else None

    def scores(self, model: AdditiveModel) -> dict[str, NDArray[np.float64]]:
        """Return each brand's predicted probabilities."""
        return {name: model.probabilities(encoded) for name, encoded in self.cells.items()}

    def by_brand(self, scores: Mapping[str, NDArray[np.float64]]) -> dict[str, float]:
        """Return each brand's AUC."""
        return {name: auc(self.labels[name], scores[name]) for name in self.labels}

    def overall(self, scores: Mapping[str, NDArray[np.float64]]) -> float:
        """Return the AUC over all brands' customers together."""
        return auc(self.all_labels(), np.concatenate([scores[name] for name in self.labels]))

    def all_labels(self) -> NDArray[np.int8]:
        """Return the labels of all brands, in order."""
        return np.concatenate(list(self.labels.values()))


def labels_of(table: CustomerTable) -> NDArray[np.int8]:
    """Return a table's labels, shape (n,), all 0 where it has none."""
    return table.labels if table.labels is not None else np.zeros(len(table), dtype=np.int8)
