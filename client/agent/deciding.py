"""Next best actions from the installed model: the path from a brand's events to decisions, inside the agent."""

from collections.abc import Sequence
from datetime import datetime

from client.agent.models import ModelStore
from client.decisions import DecisionBatch, DecisionEngine, NextAction
from client.errors import DecisionError
from client.features import extract
from client.features.encoding import cells
from client.identity import IdentityGraph


class Decider:
    """Scores customers with a purpose's model and decides for them.

    Args:
        models: the agent's finished models.
        graph: who is who in the brand's event store.
        engine: rules, consent gate, caps, holdout and journal.
    """

    def __init__(self, models: ModelStore, graph: IdentityGraph, engine: DecisionEngine) -> None:
        self._models = models
        self._graph = graph
        self._engine = engine

    def decide(
        self, purpose: str, moment: datetime, *, customers: Sequence[str] | None = None
    ) -> tuple[tuple[str, ...], tuple[NextAction, ...]]:
        """Return the customers and their decisions, in the same order.

        Args:
            purpose: the purpose that the model was trained for.
            moment: features are as of it.
            customers: for these only; None for every known one.

        Raises:
            DecisionError: no model is installed for the purpose; nothing was sent.
        """
        installed = self._models.get(purpose)
        if installed is None:
            raise DecisionError(f"No model is installed for purpose {purpose!r}; finish a training run first.")
        table = extract(self._graph, moment, customers=customers)
        encoded = cells(table, installed.task.features, installed.task.solver.cells)
        propensities = installed.model.probabilities(encoded)
        batch = DecisionBatch(table=table, propensities=propensities, model=installed.digest, merged=table.merged)
        return table.customers, self._engine.decide(batch)
