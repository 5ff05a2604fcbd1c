"""Exactly the customers that a snapshot allows, and not one more."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from client.agent.pseudonyms import Pseudonymizer
from client.errors import CohortRefusalError, StaleRoundError
from client.features.encoding import cells
from client.features.table import CustomerTable
from client.training import Contribution
from consent.contract import Signed, SnapshotHead, TaskSpec
from consent.errors import ConsentError
from consent.log.merkle import leaf_hash, root_hash


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
class _Cohort:
    key: tuple[str, str]
    contribution: Contribution


class CohortGate:
    """Finds a round's cohort: rows whose pseudonym is under the snapshot's root, checked against the root."""

    def __init__(self, pseudonymizer: Pseudonymizer, snapshots: SnapshotSource, customers: CustomerSource) -> None:
        self._pseudonymizer = pseudonymizer
        self._snapshots = snapshots
        self._customers = customers
        self._latest: _Cohort | None = None

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

    def contribution(self, task: TaskSpec, head: SnapshotHead, *, minimum: int) -> Contribution:
        """Return the encoded customers under a head.

        Raises:
            CohortRefusalError: fewer customers than `minimum`.
            StaleRoundError: the members handed out do not hash to the head's root.
        """
        key = (task.digest(), head.root)
        if self._latest is None or self._latest.key != key:
            self._latest = _Cohort(key, self._encode(task, head))
        contribution = self._latest.contribution
        if len(contribution.labels) < max(minimum, task.minimum_cohort):
            raise CohortRefusalError(
                f"Fewer opted-in customers than the minimum cohort of {max(minimum, task.minimum_cohort)}."
            )
        return contribution

    def _encode(self, task: TaskSpec, head: SnapshotHead) -> Contribution:
        members = self._snapshots.members(head.purpose, head.root)
        if root_hash([leaf_hash(bytes.fromhex(member)) for member in members]).hex() != head.root:
            raise StaleRoundError("The snapshot's members do not hash to its root; nothing is computed.")
        allowed = set(members)
        table = self._customers.training_table(task)
        pseudonyms = self._pseudonymizer.pseudonyms(table.customers)
        table = table.select(np.array([pseudonym in allowed for pseudonym in pseudonyms], dtype=np.bool_))
        labels = table.labels if table.labels is not None else np.zeros(0, dtype=np.int8)
        return Contribution(cells=cells(table, task.features, task.solver.cells), labels=labels)
