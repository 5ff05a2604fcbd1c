"""What the shared model is compared with: a brand alone at the same epsilon, and everybody's rows in one place."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

from client.features import CustomerTable
from client.features.encoding import cells
from client.training import Contribution, Trainer
from consent.contract import CategoricalFeature, TaskSpec
from consent.contract.plan import solver_for
from privacy.randomness import NoiseSource
from privacy.solvers import AdditiveModel
from simulations.evaluation import labels_of


def alone_private(task: TaskSpec, customers: CustomerTable, noise: NoiseSource) -> AdditiveModel:
    """Return the model that a brand gets from its own customers, with the same solver and the same epsilon."""
    solver = solver_for(task)
    trainer = Trainer(solver)
    encoded = cells(customers, task.features, task.solver.cells)
    contribution = Contribution(encoded, labels_of(customers))
    state = solver.start()
    while not solver.is_finished(state):
        mechanism = solver.mechanism(state.marginals)
        exact = trainer.exact_sum(solver.query(state), contribution, cohort="alone")
        state = solver.advance(state, mechanism.from_grid(mechanism.release(exact, noise)), noise_shares=1)
    return solver.model(state)


def pooled(
    task: TaskSpec, training: Mapping[str, CustomerTable], held_out: Mapping[str, CustomerTable]
) -> dict[str, NDArray[np.float64]]:
    """Return each brand's held-out scores by gradient-boosted trees on all brands' rows, without privacy."""
    rows = np.concatenate([_matrix(task, table) for table in training.values()])
    labels = np.concatenate([labels_of(table) for table in training.values()])
    categorical = [isinstance(feature, CategoricalFeature) for feature in task.features]
    model = HistGradientBoostingClassifier(
        learning_rate=0.05,
        max_iter=150,
        max_leaf_nodes=6,
        min_samples_leaf=40,
        l2_regularization=5.0,
        categorical_features=categorical,
        random_state=0,
    ).fit(rows, labels)
    return {name: model.predict_proba(_matrix(task, table))[:, 1] for name, table in held_out.items()}


def _matrix(task: TaskSpec, table: CustomerTable) -> NDArray[np.float64]:
    """Return numbers as they are and levels by their position, NaN for missing, shape (n, d)."""
    columns = []
    for feature in task.features:
        column = table.columns[feature.name]
        if isinstance(feature, CategoricalFeature):
            position = {level: float(index) for index, level in enumerate(feature.levels)}
            columns.append(np.array([position.get(value, np.nan) for value in column]))
        else:
            columns.append(column.astype(np.float64))
    return np.column_stack(columns)
