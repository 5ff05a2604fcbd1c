"""Where an agent's customers come from: its event store, or a finished table."""

from datetime import datetime, timedelta

import numpy as np

from client.features import CustomerTable, extract
from client.identity import IdentityGraph
from consent.contract import TaskSpec


class EventSource:
    """Customers as the brand's events describe them at a cut-off, labelled by what followed.

    Args:
        graph: who is who in the brand's event store.
        cutoff: features see nothing after it, labels nothing before it.
        set_aside: customers kept out of training, such as those that a model is evaluated on.
    """

    def __init__(self, graph: IdentityGraph, cutoff: datetime, *, set_aside: frozenset[str] = frozenset()) -> None:
        self._graph = graph
        self._cutoff = cutoff
        self._set_aside = set_aside

    def training_table(self, task: TaskSpec) -> CustomerTable:
        """Return every customer with features as of the cut-off and the label of the task's horizon."""
        horizon = timedelta(days=task.label.horizon_days)
        return _without(extract(self._graph, self._cutoff, horizon=horizon), self._set_aside)


class TableSource:
    """Customers of a table that already has the task's columns and labels."""

    def __init__(self, table: CustomerTable, *, set_aside: frozenset[str] = frozenset()) -> None:
        self._table = _without(table, set_aside)

    def training_table(self, task: TaskSpec) -> CustomerTable:
        """Return the table; its labels are taken to be the task's."""
        del task
        return self._table


def _without(table: CustomerTable, set_aside: frozenset[str]) -> CustomerTable:
    kept = np.array([customer not in set_aside for customer in table.customers], dtype=np.bool_)
    return table.select(kept)
