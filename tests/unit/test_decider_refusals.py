"""When a decider denies, and which rosters it does not take."""

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from consent.contract import Channel, Roster, RosterHead, Signed, SigningKey
from consent.contract.roster import CHANNEL_BITS
from consent.decider import Decider, DeciderPolicy, LocalReason
from consent.deciding import RosterView
from consent.errors import RosterRefusedError, SignatureError
from consent.events import Changed, Position, Renewal, Reset, Withdrawal

NOW = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
KEY = SigningKey.generate()
ANN, BEN = sorted(hashlib.sha256(name).hexdigest() for name in (b"ann", b"ben"))
NOTICE = "ab" * 32
SIZE = 100
PURPOSE = "conversion"
AGE = timedelta(hours=2)


def roster(*subjects: str, channels: int = CHANNEL_BITS[Channel.EMAIL], ends: int = 0) -> Roster:
    n = len(subjects)
    return Roster(
        subjects=subjects,
        grants=(7,) * n,
        channels=(channels,) * n,
        ends=(ends,) * n,
        notices=(NOTICE,) if n else (),
        notice=(0,) * n,
    )


def view(listed: Roster, key: SigningKey = KEY, **changes: Any) -> RosterView:
    values = {
        "brand": "acme",
        "purpose": PURPOSE,
        "rows": listed.rows_digest(),
        "log_size": SIZE,
        "taken_at": NOW,
        "not_after": NOW + timedelta(hours=1),
        **changes,
    }
    return RosterView(head=Signed[RosterHead].seal(RosterHead(**values), key), roster=listed)


@dataclass
class Bench:
    """A decider whose clocks stand still, in step with a roster of two."""

    policy: DeciderPolicy = field(default_factory=lambda: DeciderPolicy(max_age=AGE))
    now: datetime = NOW
    tick: float = 0.0

    def __post_init__(self) -> None:
        self.decider = Decider("acme", KEY.public_key, self.policy, clock=lambda: self.now, tick=lambda: self.tick)

    def begin(self) -> "Bench":
        self.decider.install(view(roster(ANN, BEN)))
        self.decider.follow(SIZE)
        self.decider.apply(Position(log_size=SIZE))
        assert self.reason() is LocalReason.GRANTED
        return self

    def reason(self, subject: str = ANN, channel: Channel | None = None, purpose: str = PURPOSE) -> LocalReason:
        decision = self.decider.decide(subject, purpose, channel)
        assert decision.allowed == (decision.reason is LocalReason.GRANTED)
        return decision.reason


def test_an_answer_names_the_grant_the_notice_and_the_log() -> None:
    decision = Bench().begin().decider.decide(ANN, PURPOSE, Channel.EMAIL)
    assert decision == (True, LocalReason.GRANTED, 7, NOTICE, SIZE)


def test_nothing_is_allowed_before_there_is_a_roster_and_a_stream() -> None:
    bench = Bench()
    assert bench.reason() is LocalReason.NO_ROSTER
    bench.decider.install(view(roster(ANN, BEN)))
    assert bench.reason() is LocalReason.OUT_OF_STEP
    bench.decider.follow(SIZE)
    assert bench.reason() is LocalReason.SILENT
    bench.decider.apply(Position(log_size=SIZE))
    assert bench.reason() is LocalReason.GRANTED
    assert bench.reason(purpose="churn") is LocalReason.NO_ROSTER


def test_who_is_not_listed_is_denied_and_so_is_a_channel_that_was_not_granted() -> None:
    bench = Bench().begin()
    assert bench.reason("00" * 32) is LocalReason.NOT_LISTED
    assert bench.reason(channel=Channel.EMAIL) is LocalReason.GRANTED
    assert bench.reason(channel=Channel.SMS) is LocalReason.CHANNEL_NOT_ALLOWED


@pytest.mark.parametrize(
    "bad",
    [
        {"key": SigningKey.generate()},
        {"brand": "other"},
        {"rows": "00" * 32},
        {"taken_at": NOW - AGE, "not_after": NOW + AGE},
        {"taken_at": NOW - timedelta(hours=1), "not_after": NOW},
        {"taken_at": NOW + timedelta(minutes=5)},
        {"log_size": SIZE - 1},
    ],
    ids=["another key", "another brand", "other rows", "too old", "over", "to come", "older than the one in use"],
)
def test_a_roster_that_is_not_to_be_used_is_refused(bad: dict[str, Any]) -> None:
    bench = Bench().begin()
    with pytest.raises((RosterRefusedError, SignatureError)):
        bench.decider.install(view(roster(ANN), **bad))
    assert bench.reason(BEN) is LocalReason.GRANTED


def test_an_altered_roster_is_refused() -> None:
    honest = view(roster(ANN))
    for rows in (roster(ANN, BEN), roster(BEN), roster(ANN, channels=31), roster(ANN, ends=1), roster()):
        with pytest.raises(RosterRefusedError):
            Bench().decider.install(honest.model_copy(update={"roster": rows}))


@pytest.mark.parametrize("late", [timedelta(hours=1), timedelta(days=3)])
def test_a_roster_is_over_when_its_time_is(late: timedelta) -> None:
    bench = Bench().begin()
    bench.now += timedelta(hours=1) - timedelta(microseconds=1)
    assert bench.reason() is LocalReason.GRANTED
    bench.now = NOW + late
    assert bench.reason() is LocalReason.STALE
    assert bench.decider.due(PURPOSE)


def test_a_brand_may_want_younger_rosters_than_the_service() -> None:
    bench = Bench(DeciderPolicy(max_age=timedelta(minutes=1))).begin()
    bench.now += timedelta(minutes=1)
    assert bench.reason() is LocalReason.STALE


def test_a_clock_that_is_set_back_gives_a_roster_no_more_time() -> None:
    bench = Bench(DeciderPolicy(max_age=AGE, max_silence=None))
    bench.decider.install(view(roster(ANN)))
    bench.now -= timedelta(days=1)
    bench.tick = 3_599
    assert bench.reason() is LocalReason.GRANTED
    bench.tick = 3_600
    assert bench.reason() is LocalReason.STALE


def test_silence_denies_until_the_service_is_heard_again() -> None:
    bench = Bench().begin()
    bench.tick = 5
    assert bench.reason() is LocalReason.GRANTED
    bench.tick = 5.1
    assert bench.reason() is LocalReason.SILENT
    assert not bench.decider.due(PURPOSE)
    bench.decider.apply(Withdrawal(subject=BEN, purpose=PURPOSE, log_index=SIZE))
    bench.decider.apply(Changed(purpose=PURPOSE, loses=False, log_index=SIZE))
    bench.decider.apply(Renewal(subject=BEN, purpose=PURPOSE, ends=NOW, log_index=SIZE))
    assert bench.reason() is LocalReason.SILENT
    bench.decider.apply(Position(log_size=SIZE + 1))
    assert bench.reason() is LocalReason.GRANTED


def test_a_withdrawal_counts_at_once_and_until_a_roster_knows_of_it() -> None:
    bench = Bench().begin()
    bench.decider.apply(Withdrawal(subject=ANN, purpose=PURPOSE, log_index=SIZE))
    assert (bench.reason(), bench.reason(BEN)) == (LocalReason.WITHDRAWN, LocalReason.GRANTED)
    bench.decider.install(view(roster(ANN, BEN)))
    assert bench.reason() is LocalReason.WITHDRAWN
    bench.decider.install(view(roster(ANN, BEN), log_size=SIZE + 1))
    assert bench.reason() is LocalReason.GRANTED


def test_a_withdrawn_channel_leaves_the_others() -> None:
    bench = Bench().begin()
    bench.decider.install(view(roster(ANN, BEN, channels=31)))
    bench.decider.apply(Withdrawal(subject=ANN, channel=Channel.SMS, log_index=SIZE))
    assert bench.reason(channel=Channel.SMS) is LocalReason.CHANNEL_NOT_ALLOWED
    assert bench.reason(channel=Channel.EMAIL) is LocalReason.GRANTED
    assert bench.reason(BEN, channel=Channel.SMS) is LocalReason.GRANTED


def test_a_grant_ends_by_itself_and_earlier_when_it_is_renewed_for_less() -> None:
    end = NOW + timedelta(minutes=30)
    ends = int(end.timestamp()) * 1_000_000
    bench = Bench().begin()
    bench.decider.install(view(roster(ANN, BEN, ends=ends)))
    bench.decider.apply(Renewal(subject=BEN, purpose=PURPOSE, ends=NOW + timedelta(minutes=9), log_index=SIZE))
    bench.decider.apply(Renewal(subject=BEN, purpose=PURPOSE, ends=NOW + timedelta(days=9), log_index=SIZE + 1))
    bench.now = end - timedelta(microseconds=1)
    assert (bench.reason(), bench.reason(BEN)) == (LocalReason.GRANTED, LocalReason.EXPIRED)
    bench.now = end
    assert bench.reason() is LocalReason.EXPIRED


def test_what_concerns_nobody_knows_whom_denies_until_there_is_a_new_roster() -> None:
    bench = Bench().begin()
    bench.decider.apply(Changed(purpose=PURPOSE, loses=False, log_index=SIZE))
    assert bench.reason() is LocalReason.GRANTED
    bench.decider.apply(Changed(purpose=PURPOSE, loses=True, log_index=SIZE + 1))
    bench.decider.apply(Changed(purpose=PURPOSE, loses=False, log_index=SIZE + 2))
    assert bench.reason() is LocalReason.OUT_OF_STEP
    assert bench.decider.due(PURPOSE)
    bench.decider.install(view(roster(ANN, BEN), log_size=SIZE + 1))
    assert bench.reason() is LocalReason.OUT_OF_STEP
    bench.decider.install(view(roster(ANN, BEN), log_size=SIZE + 2))
    assert bench.reason() is LocalReason.GRANTED


def test_after_a_gap_only_a_roster_from_behind_it_counts() -> None:
    bench = Bench().begin()
    bench.decider.apply(Reset(log_size=SIZE + 50))
    bench.decider.apply(Position(log_size=SIZE + 50))
    assert bench.reason() is LocalReason.OUT_OF_STEP
    bench.decider.install(view(roster(ANN, BEN), log_size=SIZE + 49))
    assert bench.reason() is LocalReason.OUT_OF_STEP
    bench.decider.install(view(roster(ANN, BEN), log_size=SIZE + 50))
    assert bench.reason() is LocalReason.GRANTED


def test_a_log_that_went_back_is_another_log() -> None:
    bench = Bench().begin()
    bench.decider.apply(Position(log_size=SIZE - 1))
    assert bench.reason() is LocalReason.NO_ROSTER
    assert bench.decider.position is None


@pytest.mark.parametrize(
    "change",
    [
        {"grants": (1,)},
        {"notice": (0, 1)},
        {"subjects": (BEN, ANN)},
        {"subjects": (ANN, ANN)},
        {"channels": (32, 0)},
    ],
    ids=["a short column", "no such notice", "not sorted", "twice", "no such channel"],
)
def test_columns_that_do_not_fit_are_no_roster(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        Roster(**{**roster(ANN, BEN).model_dump(), **change})
