"""The brand's privacy ledger: two phases, one accountant, and no way to overspend from two threads."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from client.agent.ledger import BrandLedger, Unused, Work
from client.errors import LedgerRefusalError, StaleRoundError
from privacy.accounting import epsilon

PURPOSE = "conversion"
DELTA = 1e-6
NOISE = 20.0
BEGIN = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)


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


class Hand:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = BEGIN

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture
def timed(tmp_path: Path, hand: Hand) -> BrandLedger:
    return BrandLedger(tmp_path / "ledger.db", clock=hand)


def lasting(round_number: int, hours: float, *, form: str = "a") -> Work:
    # An hour ahead of Greenwich: the file keeps no zone.
    not_after = (BEGIN + timedelta(hours=hours)).astimezone(timezone(timedelta(hours=1)))
    return replace(work(round_number, form=form), not_after=not_after)


def test_a_reservation_expires_with_its_manifest_and_can_not_be_committed(timed: BrandLedger, hand: Hand) -> None:
    line = timed.reserve(lasting(0, 1), ceiling=16, delta=DELTA)
    hand.now += timedelta(hours=1)
    assert timed.unused() == ()
    assert timed.lines(PURPOSE) == 1
    hand.now += timedelta(seconds=1)
    with pytest.raises(StaleRoundError, match=f"Ledger line {line.number} has expired unused"):
        timed.commit(line, b"late")
    with pytest.raises(StaleRoundError), timed.committing(line):
        pytest.fail("the block of an expired line is not entered")
    assert timed.unused() == (Unused("run-1", 0, PURPOSE),)
    assert timed.lines(PURPOSE) == 0
    assert timed.epsilon(PURPOSE, DELTA) == 0.0


def test_what_expired_makes_room_and_may_be_reserved_anew(timed: BrandLedger, hand: Hand) -> None:
    ceiling = epsilon([NOISE], DELTA)
    first = timed.reserve(lasting(0, 1), ceiling=ceiling, delta=DELTA)
    with pytest.raises(LedgerRefusalError):
        timed.reserve(lasting(1, 2), ceiling=ceiling, delta=DELTA)
    hand.now += timedelta(hours=1.5)
    other = timed.reserve(lasting(1, 2), ceiling=ceiling, delta=DELTA)
    with pytest.raises(LedgerRefusalError):
        timed.reserve(lasting(0, 3), ceiling=ceiling, delta=DELTA)
    hand.now += timedelta(hours=1)
    again = timed.reserve(lasting(0, 3), ceiling=ceiling, delta=DELTA)
    assert again.number == first.number
    assert timed.commit(again, b"sum").released() == b"sum"
    with pytest.raises(StaleRoundError):
        timed.commit(other, b"sum")


def test_a_later_attempt_keeps_a_reservation(timed: BrandLedger, hand: Hand) -> None:
    line = timed.reserve(lasting(0, 1), ceiling=16, delta=DELTA)
    timed.reserve(lasting(0, 5), ceiling=16, delta=DELTA)
    hand.now += timedelta(hours=4)
    assert timed.commit(line, b"sum").released() == b"sum"


def test_a_committed_line_never_expires(timed: BrandLedger, hand: Hand) -> None:
    masked = timed.reserve(lasting(1, 1), ceiling=16, delta=DELTA)
    with timed.committing(masked):
        pass
    timed.commit(timed.reserve(lasting(0, 1), ceiling=16, delta=DELTA), b"sum")
    hand.now += timedelta(days=900)
    assert timed.unused() == ()
    assert timed.lines(PURPOSE) == 2


def test_an_unused_round_is_named_until_it_was_stated(timed: BrandLedger, hand: Hand) -> None:
    for form in "ab":
        timed.reserve(lasting(0, 1, form=form), ceiling=16, delta=DELTA)
    timed.reserve(lasting(1, 1), ceiling=16, delta=DELTA)
    timed.commit(timed.reserve(lasting(2, 1), ceiling=16, delta=DELTA), b"sum")
    timed.reserve(lasting(2, 1, form="b"), ceiling=16, delta=DELTA)
    hand.now += timedelta(hours=2)
    # Round 2 has released a sum in one form; what expired of it in another was not all that it reserved.
    assert timed.unused() == (Unused("run-1", 0, PURPOSE), Unused("run-1", 1, PURPOSE))
    timed.stated(Unused("run-1", 0, PURPOSE))
    assert timed.unused() == (Unused("run-1", 1, PURPOSE),)
    timed.reserve(lasting(0, 3), ceiling=16, delta=DELTA)
    timed.reserve(lasting(1, 3), ceiling=16, delta=DELTA)
    assert timed.unused() == ()
    hand.now += timedelta(hours=2)
    assert len(timed.unused()) == 2


def test_what_is_written_with_a_commit_stands_or_falls_with_it(timed: BrandLedger) -> None:
    line = timed.reserve(lasting(0, 1), ceiling=16, delta=DELTA)
    with pytest.raises(OperationalError), timed.committing(line) as connection:
        connection.exec_driver_sql("INSERT INTO nowhere VALUES (1)")
    with timed.transaction() as connection:
        assert list(connection.exec_driver_sql("SELECT state FROM ledger").scalars()) == ["reserved"]


def test_a_ledger_of_an_earlier_version_goes_on(tmp_path: Path, hand: Hand) -> None:
    path = tmp_path / "ledger.db"
    old = BrandLedger(path)
    spend(old, work(0))
    old.reserve(work(1), ceiling=16, delta=DELTA)
    with old.transaction() as connection:
        connection.exec_driver_sql("DROP TABLE reservations")
    old.close()
    path.chmod(0o644)
    ledger = BrandLedger(path, clock=hand)
    hand.now += timedelta(days=900)
    assert ledger.unused() == ()
    assert ledger.lines(PURPOSE) == 2
    assert path.stat().st_mode & 0o777 == 0o600
