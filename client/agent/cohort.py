"""Exactly the customers that a snapshot allows, and not one more."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from client.agent.pseudonyms import Pseudonymizer
from client.errors import CohortRefusalError, StaleRoundError
from client.features.encoding import cells
from client.features.table import CustomerTable
from client.training import Contribution
from consent.contract import Signed, SnapshotHead, TaskSpec
from consent.contract.membership import members_root
from consent.errors import ConsentError


class CustomerSource(Protocol):
    """The brand's customers with features and labels; implementations never send a row anywhere."""

    def training_table(self, task: TaskSpec) -> CustomerTable:
        """Return every customer with the task's features and label, one row each."""
        ...


class SnapshotSource(Protocol):
    """How an agent learns who may be used: the consent service, asked as this brand."""

    def current_head(self, purpose: str) -> Signed[SnapshotHead]:
        """Return the brand's latest sealed head; raises when consent has changed since."""
        ...

    def members(self, purpose: str, root: str) -> tuple[str, ...]:
        """Return the sorted pseudonyms under a head of the brand."""
        ...


@dataclass(frozen=True)
class _Population:
    """Every customer of the brand, encoded once for a run: whoever may be used is chosen from them."""

    key: tuple[str, str]
    pseudonyms: tuple[tuple[str, ...], ...]
    """Per customer, of every id that was merged into them: the strictest of their choices counts."""
    cells: NDArray[np.int16]
    labels: NDArray[np.int8]


class CohortGate:
    """Finds a round's cohort: rows whose pseudonym is under the snapshot's root, checked against the root."""

    def __init__(self, pseudonymizer: Pseudonymizer, snapshots: SnapshotSource, customers: CustomerSource) -> None:
        self._pseudonymizer = pseudonymizer
        self._snapshots = snapshots
        self._customers = customers
        self._population: _Population | None = None
        self._allowed: tuple[str, frozenset[str]] | None = None

    def check_current(self, head: SnapshotHead) -> None:
        """Refuse a snapshot that a later choice of any customer has overtaken.

        Raises:
            StaleRoundError: the round must be opened anew, without whoever has withdrawn.
        """
        try:
            current = self._snapshots.current_head(head.purpose)
        except ConsentError as error:
            raise StaleRoundError(f"The snapshot can not be confirmed as current: {error}") from None
        if current.body != head:
            raise StaleRoundError("The round's snapshot is not the current one; open the round anew.")

    def contribution(self, task: TaskSpec, run_id: str, head: SnapshotHead, *, minimum: int) -> Contribution:
        """Return the encoded customers under a head.

        Rows are opened once for a run; who of them is used is decided by the head, every time. Only the
        brand's own minimum counts here: a refusal tells on which side of it the cohort lies, and a minimum
        that the coordinator could vary would tell the exact number. The task's is held by the consent service.

        Raises:
            CohortRefusalError: fewer customers than `minimum`.
            StaleRoundError: the members handed out do not hash to the head's root.
        """
        allowed = self._allowed_under(head)
        everyone = self._everyone(task, run_id)
        chosen = np.array([allowed.issuperset(names) for names in everyone.pseudonyms], dtype=np.bool_)
        if int(chosen.sum()) < minimum:
            raise CohortRefusalError(f"Fewer opted-in customers than the minimum cohort of {minimum}.")
        return Contribution(cells=everyone.cells[chosen], labels=everyone.labels[chosen])

    def _allowed_under(self, head: SnapshotHead) -> frozenset[str]:
        """Return the members under a root, hashed once for as long as the root stays the same."""
        if self._allowed is None or self._allowed[0] != head.root:
            members = self._snapshots.members(head.purpose, head.root)
            if members_root(members) != head.root:
                raise StaleRoundError("The snapshot's members do not hash to its root; nothing is computed.")
            self._allowed = (head.root, frozenset(members))
        return self._allowed[1]

    def _everyone(self, task: TaskSpec, run_id: str) -> _Population:
        key = (task.digest(), run_id)
        if self._population is None or self._population.key != key:
            table = self._customers.training_table(task)
            if table.labels is None:
                raise CohortRefusalError("The customers carry no labels; there is nothing to learn from.")
            self._population = _Population(
                key=key,
                pseudonyms=tuple(
                    self._pseudonymizer.pseudonyms(table.merged.get(customer, (customer,)))
                    for customer in table.customers
                ),
                cells=cells(table, task.features, task.solver.cells),
                labels=table.labels,
            )
        return self._population
