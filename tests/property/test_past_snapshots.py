"""What is told of earlier moments is what held then: random histories, each step's snapshot and answers kept."""

import hashlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from consent_model import START, Service, choice_of, purpose_named
from depth import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from consent.contract import Act, DecisionQuery, Notice
from consent.service import create_app, initialise
from consent.service.choices import record
from consent.service.decisions import decide
from consent.service.merges import merge, unmerge
from consent.service.notices import publish
from consent.service.past import past_of
from consent.service.purposes import declare
from consent.service.snapshots import current, seal
from consent.service.work import Look
from consent.settings import ConsentSettings
from consent.wire import ChoiceBatch, Merge

SUBJECTS = tuple(hashlib.sha256(bytes([number])).hexdigest() for number in range(4))
STEP = timedelta(hours=7)
"""A grant that ends within two days is left out of some snapshots, which hold a day, and ends in others."""

PAIRS = st.tuples(st.sampled_from(SUBJECTS), st.sampled_from(SUBJECTS)).filter(lambda pair: pair[0] != pair[1])
GRANTS = st.tuples(st.just("grant"), st.sampled_from(SUBJECTS), st.sampled_from([None, 20, 48]))
WITHDRAWALS = st.tuples(st.just("withdraw"), st.sampled_from(SUBJECTS))
MERGES = st.tuples(st.sampled_from(["merge", "unmerge"]), PAIRS)
NOTICES = st.tuples(st.just("notice"))
STEPS = st.lists(st.one_of(GRANTS, GRANTS, WITHDRAWALS, MERGES, MERGES, NOTICES), min_size=2, max_size=14)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    configured = ConsentSettings(data_dir=tmp_path_factory.mktemp("past") / "consent")
    initialise(configured, clock=lambda: START)
    service = Service(create_app(configured, clock=lambda: service.now).state.workplace)
    yield service
    service.workplace.close()


class History:
    """One example: a brand, a purpose and the notice that is served for it."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.caller = service.new_brand()
        self.purpose = f"purpose-{self.caller.name}"
        self.merged: set[frozenset[str]] = set()
        self.notice = ""
        with service.workplace.writing() as unit:
            declare(unit, purpose_named(self.purpose))
        self.serve(0)

    def serve(self, tick: int) -> None:
        notice = Notice(
            purpose=self.purpose, language="en", text=f"{self.purpose} {tick}", replaces=self.notice or None
        )
        with self.service.workplace.writing() as unit:
            self.notice = publish(unit, notice)

    def take(self, tick: int, step: tuple[Any, ...]) -> None:
        brand = self.caller.name
        if step[0] == "notice":
            self.serve(tick)
            return
        with self.service.workplace.writing() as unit:
            if step[0] in {"grant", "withdraw"}:
                choice = choice_of(brand, step[1], self.purpose, Act(step[0]))
                ends = unit.now + timedelta(hours=step[2]) if step[0] == "grant" and step[2] else None
                notice = self.notice if step[0] == "grant" else None
                choice = choice.model_copy(update={"notice": notice, "expires_at": ends})
                record(unit, self.caller, ChoiceBatch(idempotency_key=str(tick), choices=(choice,)))
            elif step[0] == "merge":
                merge(unit, self.caller, Merge(brand=brand, subject=step[1][0], other=step[1][1]))
                self.merged.add(frozenset(step[1]))
            elif frozenset(step[1]) in self.merged:
                unmerge(unit, self.caller, Merge(brand=brand, subject=step[1][0], other=step[1][1]))

    def now(self) -> tuple[int, datetime, set[str], list[str]]:
        """Return a fresh snapshot's place, end and members, and why each customer is answered as they are."""
        brand = self.caller.name
        with self.service.workplace.writing() as unit:
            (head,) = seal(unit, self.purpose, [brand])
            members = set(current(unit, brand, self.purpose).members)
            queries = [DecisionQuery(brand=brand, subject=one, purpose=self.purpose) for one in SUBJECTS]
            reasons = [
                answer.reason.value for answer in decide(Look(unit.session, unit.now), self.caller, queries)
            ]
        return head.body.log_size, head.body.not_after, members, reasons


@settings(max_examples=examples(12, 30), deadline=None)
@given(STEPS)
def test_the_past_is_told_as_it_was(service: Service, steps: list[tuple[Any, ...]]) -> None:
    service.now = START
    history = History(service)
    moments = []
    for tick, step in enumerate(steps, 1):
        service.now = START + tick * STEP
        history.take(tick, step)
        moments.append((service.now, *history.now()))
    with service.workplace.reading() as unit:
        pasts = {one: past_of(unit, history.caller.name, one) for one in SUBJECTS}
    for at, size, not_after, members, reasons in moments:
        in_snapshot = {
            one
            for one, past in pasts.items()
            if past.holdings(lambda index, _, size=size: index < size, not_after).holds(one, history.purpose)
        }
        assert in_snapshot == members
        told = [
            past.holdings(lambda _, happened, at=at: happened <= at, at)
            .decision(DecisionQuery(brand=history.caller.name, subject=one, purpose=history.purpose))
            .reason.value
            for one, past in pasts.items()
        ]
        assert told == reasons
