"""Whatever customers, consents and schedules there are: no send that should not be."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from itertools import combinations
from zoneinfo import ZoneInfo

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from client.decisions import (
    Action,
    DecisionBatch,
    DecisionEngine,
    DecisionJournal,
    DecisionPolicy,
    EpsilonGreedy,
    FrequencyCap,
    Holdout,
    NextAction,
    QuietHours,
    Softmax,
)
from client.features import CustomerTable
from consent.contract import Channel, Decision, DecisionQuery, DecisionReason

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
PURPOSE = "personalization-decisions"
CUSTOMERS = tuple(f"c{i}" for i in range(8))
CATALOGUE = tuple(Action(f"{channel}-offer", "hello", channel, value=50.0, cost=0.1) for channel in Channel)


def pseudonym(customer: str) -> str:
    return hashlib.sha256(customer.encode()).hexdigest()


class TableGate:
    """Answers from a table of grants; a send needs both the purpose and the channel."""

    def __init__(self, purposes: set[str], channels: set[tuple[str, Channel]]) -> None:
        self._purposes = {pseudonym(customer) for customer in purposes}
        self._channels = {(pseudonym(customer), channel) for customer, channel in channels}

    def allowed(self, queries: Sequence[DecisionQuery]) -> list[Decision]:
        return [self._answer(query) for query in queries]

    def _answer(self, query: DecisionQuery) -> Decision:
        assert query.purpose == PURPOSE
        assert query.channel is not None, "a send was asked for without its channel"
        if query.subject not in self._purposes:
            return Decision(allowed=False, reason=DecisionReason.NO_GRANT)
        if (query.subject, query.channel) not in self._channels:
            return Decision(allowed=False, reason=DecisionReason.CHANNEL_NOT_ALLOWED)
        return Decision(allowed=True, reason=DecisionReason.GRANTED, log_index=int(query.subject[:6], 16))


EVEN = EpsilonGreedy(1.0)
EVERYONE = TableGate(set(CUSTOMERS), {(c, channel) for c in CUSTOMERS for channel in Channel})

subsets = st.sets(st.sampled_from(CUSTOMERS))
channel_table = st.sets(st.tuples(st.sampled_from(CUSTOMERS), st.sampled_from(Channel)))
explorations = st.builds(EpsilonGreedy, st.floats(1e-6, 1)) | st.builds(
    Softmax, st.floats(1e-3, 1e3), st.floats(1e-6, 1)
)


def batch(customers: Sequence[str] = CUSTOMERS, **more: object) -> DecisionBatch:
    chances = np.linspace(0, 1, len(customers))
    return DecisionBatch(CustomerTable(tuple(customers), {}), chances, model="0" * 64, **more)  # type: ignore[arg-type]


def engine(
    gate: TableGate = EVERYONE,
    *,
    exploration: EpsilonGreedy | Softmax = EVEN,
    caps: tuple[FrequencyCap, ...] = (),
    quiet_hours: QuietHours | None = None,
    now: datetime = NOON,
    journal: DecisionJournal | None = None,
    holdout: float = 0.0,
) -> DecisionEngine:
    return DecisionEngine(
        policy=DecisionPolicy("shop", PURPOSE, exploration, caps, quiet_hours),
        catalogue=CATALOGUE,
        gate=gate,
        holdout=Holdout(b"k" * 32, holdout),
        pseudonym=pseudonym,
        journal=journal or DecisionJournal(),
        stopped=lambda: False,
        clock=lambda: now,
    )


@settings(max_examples=60, deadline=None)
@given(purposes=subsets, channels=channel_table, exploration=explorations, share=st.floats(0, 0.9))
def test_nobody_is_sent_anything_without_a_grant_for_purpose_and_channel(
    purposes: set[str],
    channels: set[tuple[str, Channel]],
    exploration: EpsilonGreedy | Softmax,
    share: float,
) -> None:
    decisions = engine(TableGate(purposes, channels), exploration=exploration, holdout=share).decide(batch())
    for customer, decision in zip(CUSTOMERS, decisions, strict=True):
        assert decision.subject == pseudonym(customer)
        granted = {channel for channel in Channel if customer in purposes and (customer, channel) in channels}
        open_to = set() if decision.holdout else granted
        assert set(decision.propensities) == {"no-action", *(f"{channel}-offer" for channel in open_to)}
        assert all(chance > 0 for chance in decision.propensities.values())
        assert abs(sum(decision.propensities.values()) - 1) < 1e-9
        check_record(decision, open_to)


def check_record(decision: NextAction, open_to: set[Channel]) -> None:
    blocked = {trace.action_id for trace in decision.candidates if trace.blocked_by}
    assert blocked == {action.action_id for action in CATALOGUE if action.channel not in open_to}
    if decision.action is None:
        assert decision.consent_log_index is None
        assert decision.propensity == decision.propensities["no-action"]
    else:
        assert decision.action.channel in open_to
        assert decision.consent_log_index == int(decision.subject[:6], 16)
        assert decision.propensity == decision.propensities[decision.action.action_id]


@settings(max_examples=25, deadline=None)
@given(
    hours=st.lists(st.integers(0, 24 * 9), min_size=1, max_size=10),
    limits=st.tuples(st.integers(0, 3), st.integers(0, 2)),
    windows=st.tuples(st.integers(1, 96), st.integers(1, 96)),
)
def test_no_window_ever_holds_more_sends_than_its_cap(
    hours: list[int], limits: tuple[int, int], windows: tuple[int, int]
) -> None:
    """Campaigns run at any times and in any order, in one journal."""
    caps = (
        FrequencyCap("cap-all", limits[0], timedelta(hours=windows[0])),
        FrequencyCap("cap-email", limits[1], timedelta(hours=windows[1]), Channel.EMAIL),
    )
    journal, sent = DecisionJournal(), []
    for hour in hours:
        run = engine(caps=caps, now=NOON + timedelta(hours=hour), journal=journal)
        sent += [(d.action.channel, d.decided_at) for d in run.decide(batch(["c7"])) if d.action]
    for cap in caps:
        times = sorted(at for channel, at in sent if cap.covers(channel))
        for group in combinations(times, cap.limit + 1):
            assert group[-1] - group[0] >= cap.window


@settings(max_examples=60, deadline=None)
@given(
    start=st.times(),
    end=st.times(),
    minute=st.integers(0, 366 * 24 * 60),
    zones=st.lists(
        st.sampled_from([None, "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Auckland"]),
        min_size=8,
        max_size=8,
    ),
)
def test_nothing_goes_out_in_the_customers_quiet_hours(
    start: time, end: time, minute: int, zones: list[str | None]
) -> None:
    now = NOON + timedelta(minutes=minute)
    run = engine(quiet_hours=QuietHours(start, end, "Europe/Berlin"), now=now)
    for zone, decision in zip(zones, run.decide(batch(zones=zones)), strict=True):
        clock = now.astimezone(ZoneInfo(zone or "Europe/Berlin")).time()
        asleep = start <= clock < end if start <= end else not end <= clock < start
        pushed = {action_id for action_id in decision.propensities if action_id[:4] in {"emai", "sms-", "push"}}
        assert pushed == (set() if asleep else {"email-offer", "sms-offer", "push-offer"})
        assert {"in_app-offer", "ads-offer"} <= set(decision.propensities)
