"""Attack 9: customers leave in masses while decisions are asked for and rounds go on to be opened."""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest
from round_papers import Rounds, mechanism_of, task_of
from sqlalchemy import func, select

from consent import errors
from consent.contract import Act, DecisionQuery, Signed, SnapshotHead
from consent.log.verify import verify_folder
from consent.service.limits import WORK, Limits
from consent.store.schema import ChoiceRow

PURPOSE, BRAND = "conversion", "acme"
CUSTOMERS, BATCH, SENDERS = 1_200, 50, 4
COHORT = 50


def subject(number: int) -> str:
    return hashlib.sha256(b"%d" % number).hexdigest()


class Leaving:
    """A brand that many customers opted into, and what is asked of it."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.subjects = [subject(number) for number in range(CUSTOMERS)]
        world.declare(PURPOSE)
        world.record(BRAND, Act.GRANT, *self.subjects)
        world.clock.advance(60)
        self.rounds = Rounds.approved(world, BRAND, task=task_of(epsilon=1.0, minimum_cohort=COHORT))

    def withdraw(self, subjects: Sequence[str]) -> tuple[int, ...]:
        choices = [self.world.choice(BRAND, one, Act.WITHDRAW) for one in subjects]
        indices: tuple[int, ...] = self.world.brand(BRAND).record(choices, idempotency_key=f"leave-{subjects[0]}")
        return indices

    def batches(self, subjects: Sequence[str]) -> list[Sequence[str]]:
        return [subjects[start : start + BATCH] for start in range(0, len(subjects), BATCH)]

    def allowed(self, subjects: Sequence[str]) -> list[bool]:
        queries = [DecisionQuery(brand=BRAND, subject=one, purpose=PURPOSE) for one in subjects]
        return [answer.allowed for answer in self.world.brand(BRAND).decide(queries)]

    def head(self) -> Signed[SnapshotHead]:
        (head,) = self.rounds.heads()
        return head

    def open(self, number: int, head: Signed[SnapshotHead]) -> None:
        lines = self.rounds.lines(heads=[head])
        self.rounds.open(self.rounds.manifest(round=number, mechanism=mechanism_of(64.0), participants=lines))


@pytest.fixture
def leaving(consent_worlds: Callable[..., Any], database_url: str) -> Leaving:
    return Leaving(consent_worlds(database_url=database_url, publish_interval=0.05))


def test_attack_9_a_mass_withdrawal_loses_nothing_while_decisions_go_on(leaving: Leaving) -> None:
    """Whoever's withdrawal was answered is out from that moment, however many leave at once."""
    gone = leaving.subjects[COHORT:]
    over = Event()
    stale = leaving.head()

    def leave(subjects: Sequence[str]) -> Sequence[int]:
        indices = leaving.withdraw(subjects)
        assert not any(leaving.allowed(subjects))
        return indices

    def ask() -> int:
        asked = 0
        while not over.is_set():
            assert all(leaving.allowed(leaving.subjects[:COHORT]))
            asked += 1
        return asked

    with ThreadPoolExecutor(SENDERS + 1) as threads:
        asking = threads.submit(ask)
        try:
            recorded = list(threads.map(leave, leaving.batches(gone)))
        finally:
            over.set()
        assert asking.result() > 0
    assert len({index for indices in recorded for index in indices}) == len(gone)
    with leaving.world.app.state.workplace.reading() as unit:
        kept = select(func.count()).select_from(ChoiceRow).where(ChoiceRow.act == Act.WITHDRAW.value)
        assert unit.session.scalar(kept) == len(gone)
    with pytest.raises(errors.StaleSnapshotError):
        leaving.open(0, stale)
    leaving.open(0, leaving.head())
    leaving.world.app.state.workplace.publish_now()
    assert verify_folder(leaving.world.settings.log_dir).findings == []


def test_attack_9_a_round_below_the_smallest_cohort_is_refused(leaving: Leaving) -> None:
    for batch in leaving.batches(leaving.subjects[: CUSTOMERS - COHORT + 1]):
        leaving.withdraw(batch)
    with pytest.raises(errors.CohortTooSmallError):
        leaving.open(0, leaving.head())
    (budget,) = leaving.world.coordinator.budgets(BRAND)
    assert (budget.spent, budget.reserved) == (0, 0)


def test_attack_9_too_many_at_once_are_told_to_come_back_and_lose_nothing(
    consent_worlds: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    leaving = Leaving(consent_worlds())
    now = [0.0]
    leaving.world.app.state.workplace.limits = Limits(now=lambda: now[0])
    monkeypatch.setitem(WORK, "choices", WORK["choices"]._replace(per_second=10, burst=BATCH))
    first, second = leaving.batches(leaving.subjects)[:2]
    leaving.withdraw(first)
    with pytest.raises(errors.RateLimitedError) as told:
        leaving.withdraw(second)
    assert all(leaving.allowed(second))
    now[0] += told.value.retry_after
    leaving.withdraw(second)
    assert not any(leaving.allowed([*first, *second]))
