"""One brand's exact sum for a round, before noise: never returned to anyone but the agent."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from client.training.gradients import clipped_gradient_sum
from privacy.solvers import AcceleratedAdditive, Marginals, Query
from privacy.vectors import arrays_digest


@dataclass(frozen=True)
class Contribution:
    """The encoded customers of a round.

    Attributes:
        cells: shape (n, d).
        labels: shape (n,), 0 or 1.
    """

    cells: NDArray[np.int16]
    labels: NDArray[np.int8]


class Trainer:
    """Computes a round's exact sum; keeps the embedded customers between rounds that share them."""

    def __init__(self, solver: AcceleratedAdditive) -> None:
        self._solver = solver
        self._embedded: tuple[str, NDArray[np.int16], NDArray[np.float64]] | None = None

    def exact_sum(self, query: Query, customers: Contribution, *, cohort: str) -> NDArray[np.float64]:
        """Return the sum that the query asks for over `customers`.

        Args:
            query: the round's query.
            customers: every customer of the cohort, once each.
            cohort: digest that names the cohort, such as its snapshot root.
        """
        if query.marginals is None:
            return self._solver.sum_marginals(customers.cells, customers.labels)
        return clipped_gradient_sum(
            self._vectors(query.marginals, customers, cohort),
            customers.labels,
            point=query.point,
            base_logit=self._solver.base_logit(query.marginals),
            clip_norm=self._solver.brand_clip_norm,
        )

    def _vectors(self, marginals: Marginals, customers: Contribution, cohort: str) -> NDArray[np.float64]:
        key = cohort + arrays_digest({"marginals": marginals.total})
        known = self._embedded
        if known is None or known[0] != key or not np.array_equal(known[1], customers.cells):
            known = (key, customers.cells, self._solver.feature_map(marginals).embed(customers.cells))
            self._embedded = known
        return known[2]
