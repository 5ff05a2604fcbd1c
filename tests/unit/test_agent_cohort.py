"""Exactly the customers under a snapshot: also where several ids were merged into one customer."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from client.agent.cohort import CohortGate
from client.agent.pseudonyms import Pseudonymizer
from client.errors import CohortRefusalError
from client.features import CustomerTable
from consent.contract import Label, NumericFeature, PrivacyTarget, Signed, SnapshotHead, TaskSpec
from consent.contract.membership import members_root
from consent.errors import StaleSnapshotError

NAMES = Pseudonymizer(b"k" * 32)
TASK = TaskSpec(
    task_id="t",
    purpose="conversion",
    features=(NumericFeature(name="x", lower=0, upper=10),),
    label=Label(name="y"),
    privacy=PrivacyTarget(epsilon=1.0, delta=1e-6),
)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Opened:
    """Snapshots of the ids given, and a table of three customers; `ben` was known as `benny` before."""

    def __init__(self, *ids: str) -> None:
        self.allowed = tuple(sorted(NAMES.pseudonyms(ids)))
        self.head = SnapshotHead(
            brand="ant",
            purpose="conversion",
            root=members_root(self.allowed),
            size_class=1,
            log_size=1,
            sealed_at=NOW,
            not_after=NOW + timedelta(days=1),
        )

    def current_head(self, _purpose: str) -> Signed[SnapshotHead]:
        raise StaleSnapshotError("not asked here")

    def members(self, _purpose: str, _root: str) -> tuple[str, ...]:
        return self.allowed

    def training_table(self, _task: TaskSpec) -> CustomerTable:
        return CustomerTable(
            customers=("ann", "ben", "cy"),
            columns={"x": np.array([1.0, 2.0, 3.0])},
            labels=np.array([0, 1, 0], dtype=np.int8),
            merged={"ben": ("ben", "benny")},
        )


def used(ids: Sequence[str]) -> list[int]:
    opened = Opened(*ids)
    gate = CohortGate(NAMES, opened, opened)
    customers = gate.contribution(TASK, "run", opened.head, minimum=1)
    known = gate.contribution(TASK, "run", opened.head, minimum=1)
    assert np.array_equal(customers.cells, known.cells)
    return [int(cell) for cell in customers.cells[:, 0]]


def test_a_merged_customer_is_used_only_if_every_id_opted_in() -> None:
    cells = used(["ann", "ben", "benny", "cy"])
    assert len(cells) == 3
    assert used(["ann", "ben", "cy"]) == [cells[0], cells[2]]
    assert used(["ann", "benny", "cy"]) == [cells[0], cells[2]]
    assert used(["ann", "ben", "benny"]) == cells[:2]


def test_nobody_under_the_snapshot_is_a_refusal() -> None:
    with pytest.raises(CohortRefusalError):
        used(["somebody-else"])
