"""The decision engine on cases small enough to read."""

import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import duckdb
import numpy as np
import pytest

from client.decisions import (
    Action,
    DecisionBatch,
    DecisionEngine,
    DecisionJournal,
    DecisionPolicy,
    EligibilityRule,
    EpsilonGreedy,
    Exploration,
    FrequencyCap,
    Holdout,
    KillSwitch,
    Softmax,
)
from client.errors import DecisionError
from client.features import CustomerTable
from consent.contract import Channel, Decision, DecisionQuery, DecisionReason

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
YES = Decision(allowed=True, reason=DecisionReason.GRANTED, log_index=7)
NO = Decision(allowed=False, reason=DecisionReason.WITHDRAWN)
EMAIL = Action("spring", "hello", Channel.EMAIL, value=10.0, cost=1.0)
PUSH = Action("push", "hi", Channel.PUSH, value=10.0, cost=0.5)


def pseudonym(customer: str) -> str:
    return hashlib.sha256(customer.encode()).hexdigest()


class Gate:
    """Answers with a function, and remembers what it was asked."""

    def __init__(self, answer: Callable[[DecisionQuery], Decision] = lambda _: YES) -> None:
        self.asked: list[DecisionQuery] = []
        self._answer = answer

    def allowed(self, queries: Sequence[DecisionQuery]) -> list[Decision]:
        self.asked += queries
        return [self._answer(query) for query in queries]


def build(**changes: Any) -> DecisionEngine:
    exploration: Exploration = changes.pop("exploration", EpsilonGreedy(0.2))
    parts: dict[str, Any] = {
        "policy": DecisionPolicy("shop", "decide", exploration, caps=changes.pop("caps", ())),
        "catalogue": (EMAIL, PUSH),
        "gate": Gate(),
        "holdout": Holdout(b"k" * 32, 0.0),
        "pseudonym": pseudonym,
        "journal": DecisionJournal(),
        "stopped": lambda: False,
        "clock": lambda: NOW,
        "uniforms": np.zeros,
        "tokens": iter(f"d{i}" for i in range(10**6)).__next__,
    }
    return DecisionEngine(**(parts | changes))


def batch(*chances: float, **more: Any) -> DecisionBatch:
    columns = more.pop("columns", {})
    table = CustomerTable(tuple(f"c{i}" for i in range(len(chances))), columns)
    return DecisionBatch(table, np.array(chances), model="ab" * 32, **more)


def test_scores_are_propensity_times_value_times_responsiveness_less_cost() -> None:
    engine = build(exploration=EpsilonGreedy(1e-9), uniforms=lambda n: np.full(n, 0.5))
    answers = {Channel.EMAIL: np.array([1.0, 0.1, 1.0]), Channel.PUSH: 0.8}
    sent = engine.decide(batch(0.5, 0.5, 0.01, responsiveness=answers))
    assert [d.action and d.action.action_id for d in sent] == ["spring", "push", None]
    assert [d.score for d in sent] == pytest.approx([4.0, 3.5, 0.0])


def test_epsilon_greedy_logs_the_chance_it_drew_with() -> None:
    (decision,) = build(uniforms=lambda n: np.full(n, 0.99)).decide(batch(0.9))
    assert decision.propensities == pytest.approx({"no-action": 0.2 / 3, "spring": 0.2 / 3, "push": 0.8 + 0.2 / 3})
    assert (decision.action, decision.propensity) == (PUSH, decision.propensities["push"])


def test_softmax_prefers_better_scores_and_leaves_none_without_a_chance() -> None:
    (decision,) = build(exploration=Softmax(temperature=1e-3, floor=0.03)).decide(batch(0.9))
    assert decision.propensities == pytest.approx({"no-action": 0.01, "spring": 0.01, "push": 0.98})


def test_draws_follow_the_logged_chances() -> None:
    rng = np.random.default_rng(1)
    engine = build(uniforms=rng.random)
    decisions = engine.decide(batch(*[0.9] * 6000))
    share = np.mean([d.action is PUSH for d in decisions])
    assert share == pytest.approx(0.8 + 0.2 / 3, abs=0.02)


def test_the_record_names_the_rules_the_grant_and_the_model() -> None:
    gold = EligibilityRule("gold-only", "tier", one_of=("gold",))
    active = EligibilityRule("visited", "recency_days", at_most=30)
    action = Action("vip", "hello", Channel.EMAIL, value=10.0, cost=1.0, rules=(gold, active))
    columns = {
        "tier": np.array(["gold", "basic", None], dtype=object),
        "recency_days": np.array([3.0, np.nan, 90.0]),
    }
    engine = build(catalogue=(action,), uniforms=lambda n: np.full(n, 0.5))
    first, second, third = engine.decide(batch(0.9, 0.9, 0.9, columns=columns))
    assert (first.action, first.consent_log_index, first.model) == (action, 7, "ab" * 32)
    assert first.candidates[0].admitted_by == ("holdout", "gold-only", "visited", "consent:granted", "kill-switch")
    assert first.candidates[0].blocked_by == ()
    assert second.candidates[0].blocked_by == third.candidates[0].blocked_by == ("gold-only", "visited")
    assert (second.action, second.propensities) == (None, {"no-action": 1.0})


def test_consent_is_asked_only_where_a_send_is_still_possible() -> None:
    never = EligibilityRule("never", "x", at_least=1.0)
    gate = Gate()
    catalogue = (Action("spring", "hello", Channel.EMAIL, value=10.0, cost=1.0, rules=(never,)), PUSH)
    build(gate=gate, catalogue=catalogue).decide(batch(0.5, columns={"x": np.array([0.0])}))
    assert [(query.purpose, query.channel) for query in gate.asked] == [("decide", Channel.PUSH)]


def test_the_strictest_consent_of_merged_ids_wins() -> None:
    gate = Gate(lambda query: NO if query.subject == pseudonym("old-c0") else YES)
    merged = {"c0": ("c0", "old-c0"), "c1": ("c1", "old-c1")}
    first, second = build(gate=gate).decide(batch(0.9, 0.9, merged=merged))
    assert first.candidates[0].blocked_by == ("consent:withdrawn",)
    assert second.candidates[0].blocked_by == ()


@pytest.mark.parametrize(
    "answer", [Decision(allowed=True, reason=DecisionReason.GRANTED), NO], ids=["no log index", "withdrawn"]
)
def test_a_grant_that_cannot_be_pointed_at_is_none(answer: Decision) -> None:
    (decision,) = build(gate=Gate(lambda _: answer)).decide(batch(0.9))
    assert decision.action is None
    assert all(trace.blocked_by for trace in decision.candidates)


def test_a_gate_that_fails_or_answers_too_little_sends_nothing() -> None:
    class Short(Gate):
        def allowed(self, queries: Sequence[DecisionQuery]) -> list[Decision]:
            return super().allowed(queries)[1:]

    class Down(Gate):
        def allowed(self, queries: Sequence[DecisionQuery]) -> list[Decision]:
            raise ConnectionError

    for gate, error in ((Short(), DecisionError), (Down(), ConnectionError)):
        journal = DecisionJournal()
        with pytest.raises(error):
            build(gate=gate, journal=journal).decide(batch(0.9, 0.9))
        assert journal.count() == 0


def test_the_kill_switch_stops_the_next_decision_and_lets_go_again(tmp_path: Path) -> None:
    switch = KillSwitch(tmp_path / "stop")
    engine = build(stopped=switch, uniforms=lambda n: np.full(n, 0.99))
    assert engine.decide(batch(0.9))[0].action == PUSH
    switch.stop()
    (stopped,) = engine.decide(batch(0.9))
    assert (stopped.action, stopped.candidates[0].blocked_by) == (None, ("kill-switch",))
    switch.resume()
    assert engine.decide(batch(0.9))[0].action == PUSH


def test_a_kill_switch_whose_folder_is_gone_stops(tmp_path: Path) -> None:
    assert KillSwitch(tmp_path / "gone" / "stop")()


def test_every_decision_is_in_the_journal_without_the_customers_id() -> None:
    connection = duckdb.connect()
    engine = build(journal=DecisionJournal(connection), uniforms=lambda n: np.full(n, 0.99))
    (decision,) = engine.decide(batch(0.9))
    row = connection.sql("SELECT * FROM decisions").to_arrow_table().to_pylist()[0]
    assert (row["decision_id"], row["subject"], row["action_id"]) == ("d0", pseudonym("c0"), "push")
    assert json.loads(row["propensities"]) == dict(decision.propensities)
    assert json.loads(row["candidates"])[0]["admitted_by"] == ["holdout", "consent:granted", "kill-switch"]
    assert (row["consent_log_index"], row["propensity"]) == (7, decision.propensity)


def test_a_cap_counts_across_campaigns_and_lets_go_after_its_window() -> None:
    journal, clock = DecisionJournal(), [NOW]
    cap = FrequencyCap("one-a-day", 1, timedelta(days=1))
    always = {
        "journal": journal,
        "caps": (cap,),
        "clock": lambda: clock[0],
        "uniforms": lambda n: np.full(n, 0.99),
    }
    first, second = build(**always), build(**always)
    assert first.decide(batch(0.9))[0].action == PUSH
    clock[0] += timedelta(hours=23, minutes=59)
    assert second.decide(batch(0.9))[0].candidates[0].blocked_by == ("one-a-day",)
    clock[0] += timedelta(minutes=1)
    assert second.decide(batch(0.9))[0].action == PUSH


def test_campaigns_that_run_at_once_share_one_cap() -> None:
    journal, cap = DecisionJournal(), FrequencyCap("one-a-day", 1, timedelta(days=1))
    both_ready = Barrier(2)

    def campaign(_: int) -> int:
        engine = build(journal=journal, caps=(cap,), uniforms=lambda n: np.full(n, 0.99))
        both_ready.wait()
        return sum(engine.decide(batch(0.9))[0].action is not None for _ in range(5))

    with ThreadPoolExecutor(2) as pool:
        assert sum(pool.map(campaign, range(2))) == 1


def test_the_holdout_is_stable_keeps_its_share_and_gets_nothing() -> None:
    holdout = Holdout(b"a" * 32, 0.1)
    customers = [f"customer-{i}" for i in range(20_000)]
    members = holdout.members(customers)
    assert members.mean() == pytest.approx(0.1, abs=4 * (0.1 * 0.9 / 20_000) ** 0.5)
    assert np.array_equal(members, Holdout(b"a" * 32, 0.1).members(customers))
    assert np.all(Holdout(b"a" * 32, 0.2).members(customers) >= members), "raising the share moved a member out"
    assert not np.array_equal(members, Holdout(b"b" * 32, 0.1).members(customers))
    chances = batch(*[0.9] * 200)
    for answer in (YES, NO):
        engine = build(holdout=Holdout(b"a" * 32, 0.3), gate=Gate(lambda _, answer=answer: answer))
        decisions = engine.decide(chances)
        flags = [d.holdout for d in decisions]
        assert flags == Holdout(b"a" * 32, 0.3).members(chances.table.customers).tolist()
        assert all(d.action is None and d.propensity == 1.0 for d in decisions if d.holdout)


def test_a_new_holdout_has_a_key_of_its_own_that_is_not_shown() -> None:
    first, second = Holdout.generate(0.1), Holdout.generate(0.1)
    assert first.key != second.key
    assert "key" not in repr(first)


def test_randomness_comes_from_the_operating_system_by_default() -> None:
    engine = build()
    default = DecisionEngine.__init__.__kwdefaults__ or {}
    draws = default["uniforms"](10_000)
    assert draws.min() >= 0
    assert draws.max() < 1
    assert draws.mean() == pytest.approx(0.5, abs=0.02)
    assert not np.array_equal(draws, default["uniforms"](10_000))
    assert engine.decide(batch()) == ()


@pytest.mark.parametrize(
    "make",
    [
        lambda: batch(1.2),
        lambda: batch(float("nan")),
        lambda: DecisionBatch(CustomerTable(("a", "a"), {}), np.array([0.1, 0.1]), model="m"),
        lambda: DecisionBatch(CustomerTable(("a",), {}), np.array([0.1, 0.1]), model="m"),
        lambda: build(catalogue=(EMAIL, EMAIL)),
        lambda: build().decide(batch(0.5, responsiveness={Channel.EMAIL: float("nan")})),
        lambda: Action("no-action", "x", Channel.EMAIL, value=1, cost=0),
        lambda: Action("x", "x", Channel.EMAIL, value=float("inf"), cost=0),
        lambda: EligibilityRule("r", "absent", at_least=1).admits(CustomerTable((), {})),
        lambda: EpsilonGreedy(0),
        lambda: Softmax(0.0),
        lambda: Holdout(b"short", 0.1),
        lambda: Holdout(b"a" * 32, 1.0),
        lambda: FrequencyCap("c", -1, timedelta(days=1)),
    ],
)
def test_what_does_not_fit_is_refused(make: Callable[[], object]) -> None:
    with pytest.raises(DecisionError):
        make()
