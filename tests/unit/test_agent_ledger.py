"""The brand's privacy ledger: two phases, one accountant, and no way to overspend from two threads."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from client.agent.ledger import BrandLedger, Work
from client.errors import LedgerRefusalError
from privacy.accounting import epsilon

PURPOSE = "conversion"
DELTA = 1e-6
NOISE = 20.0


def work(round_number: int, *, form: str = "a", run: str = "run-1", purpose: str = PURPOSE) -> Work:
    return Work(purpose, run, round_number, form * 64, NOISE)


@pytest.fixture
def ledger(tmp_path: Path) -> BrandLedger:
    return BrandLedger(tmp_path / "ledger.db")


def spend(ledger: BrandLedger, item: Work, *, ceiling: float = 16.0) -> None:
    ledger.commit(ledger.reserve(item, ceiling=ceiling, delta=DELTA), b"sum")


def test_lines_of_a_purpose_are_composed_and_other_purposes_are_apart(ledger: BrandLedger) -> None:
    for number in range(5):
        spend(ledger, work(number))
    spend(ledger, work(0, run="run-2"))
    spend(ledger, work(0, run="run-3", purpose="churn"))
    assert ledger.epsilon(PURPOSE, DELTA) == epsilon([NOISE] * 6, DELTA)
    assert ledger.epsilon("churn", DELTA) == epsilon([NOISE], DELTA)
    assert ledger.epsilon("upsell", DELTA) == 0.0
    assert ledger.lines(PURPOSE) == 6


def test_a_reserved_line_counts_before_it_is_committed(ledger: BrandLedger) -> None:
    ledger.reserve(work(0), ceiling=16, delta=DELTA)
    assert ledger.epsilon(PURPOSE, DELTA) == epsilon([NOISE], DELTA)
    assert ledger.find_committed(work(0)) is None


def test_the_ceiling_is_reached_and_not_passed(ledger: BrandLedger) -> None:
    ceiling = epsilon([NOISE] * 3, DELTA)
    for number in range(3):
        spend(ledger, work(number), ceiling=ceiling)
    with pytest.raises(LedgerRefusalError, match="Refused after ledger line 3"):
        ledger.reserve(work(3), ceiling=ceiling, delta=DELTA)
    assert ledger.lines(PURPOSE) == 3
    with pytest.raises(LedgerRefusalError, match="an empty ledger"):
        ledger.reserve(work(0, purpose="churn", run="run-9"), ceiling=1e-3, delta=DELTA)


def test_the_first_commit_of_a_line_keeps_its_bytes(ledger: BrandLedger) -> None:
    line = ledger.reserve(work(0), ceiling=16, delta=DELTA)
    assert ledger.reserve(work(0), ceiling=16, delta=DELTA) == line
    assert ledger.commit(line, b"first").released() == b"first"
    assert ledger.commit(line, b"second").released() == b"first"
    known = ledger.find_committed(work(0))
    assert known is not None
    assert known.released() == b"first"
    assert ledger.reserve(work(0), ceiling=1e-9, delta=DELTA).released() == b"first"
    assert ledger.lines(PURPOSE) == 1


def test_a_round_in_another_form_supersedes_what_released_nothing(ledger: BrandLedger) -> None:
    old = ledger.reserve(work(0, form="a"), ceiling=16, delta=DELTA)
    new = ledger.reserve(work(0, form="b"), ceiling=16, delta=DELTA)
    assert ledger.lines(PURPOSE) == 1
    with pytest.raises(LedgerRefusalError, match=f"Ledger line {old.number} was superseded"):
        ledger.commit(old, b"late")
    with pytest.raises(LedgerRefusalError, match="has released nothing"):
        new.released()
    ledger.commit(new, b"sum")
    # The old form again: it is a release of its own now, and is paid for.
    revived = ledger.reserve(work(0, form="a"), ceiling=16, delta=DELTA)
    assert revived.number == old.number
    assert ledger.lines(PURPOSE) == 2


def test_a_superseded_form_is_not_revived_over_the_ceiling(ledger: BrandLedger) -> None:
    ceiling = epsilon([NOISE], DELTA)
    ledger.reserve(work(0, form="a"), ceiling=ceiling, delta=DELTA)
    ledger.commit(ledger.reserve(work(0, form="b"), ceiling=ceiling, delta=DELTA), b"sum")
    with pytest.raises(LedgerRefusalError, match="Refused after"):
        ledger.reserve(work(0, form="a"), ceiling=ceiling, delta=DELTA)
    assert ledger.epsilon(PURPOSE, DELTA) == ceiling


def test_threads_that_reserve_at_once_never_overspend(tmp_path: Path) -> None:
    allowed, asked = 5, 12
    ceiling = epsilon([NOISE] * allowed, DELTA)
    ledgers = [BrandLedger(tmp_path / "ledger.db") for _ in range(2)]
    together = threading.Barrier(asked)

    def try_one(number: int) -> bool:
        ledger = ledgers[number % 2]
        together.wait(30)
        try:
            line = ledger.reserve(work(number), ceiling=ceiling, delta=DELTA)
        except LedgerRefusalError:
            return False
        ledger.commit(line, b"sum")
        return True

    with ThreadPoolExecutor(asked) as pool:
        outcomes = list(pool.map(try_one, range(asked)))
    assert sum(outcomes) == allowed
    assert ledgers[0].epsilon(PURPOSE, DELTA) == ceiling


def test_a_delivery_that_comes_twice_at_once_is_one_line(tmp_path: Path) -> None:
    ledger = BrandLedger(tmp_path / "ledger.db")
    together = threading.Barrier(8)

    def deliver(number: int) -> bytes:
        together.wait(30)
        line = ledger.reserve(work(0), ceiling=16, delta=DELTA)
        return ledger.commit(line, bytes([number])).released()

    with ThreadPoolExecutor(8) as pool:
        released = set(pool.map(deliver, range(8)))
    assert len(released) == 1
    assert ledger.lines(PURPOSE) == 1
