"""A decider against the service, after random histories: never more is allowed, and in step the same."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from consent_model import NOTICE, START, Service, choice_of, purpose_named
from depth import examples
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from consent.contract import Act, Channel, Choice, DecisionQuery, Notice
from consent.decider import Decider, DeciderPolicy, LocalReason
from consent.errors import NotFoundError
from consent.events import Changed, Event
from consent.service import create_app, events, initialise, rosters
from consent.service.choices import record
from consent.service.decisions import decide
from consent.service.erasure import erase
from consent.service.merges import merge, unmerge
from consent.service.notices import publish
from consent.service.purposes import declare
from consent.service.work import Caller, Look, Unit
from consent.settings import ConsentSettings
from consent.wire import ChoiceBatch, Merge, SubjectRequest

PURPOSES = ("conversion", "email")
"""The second is called as a channel is."""
CHANNELS = (Channel.EMAIL, Channel.SMS)
SUBJECTS = tuple(hashlib.sha256(bytes([number])).hexdigest() for number in range(4))
ANN, BEN = SUBJECTS[:2]
YES, NO = Act.GRANT, Act.WITHDRAW

PAIRS = st.tuples(st.sampled_from(SUBJECTS), st.sampled_from(SUBJECTS)).filter(lambda pair: pair[0] != pair[1])
SCOPES = st.sampled_from([*PURPOSES, *CHANNELS])
STEP = st.one_of(
    st.tuples(
        st.just("act"),
        st.sampled_from(SUBJECTS),
        SCOPES,
        st.sampled_from([YES, YES, NO]),
        st.sampled_from([None, 30, 90]),
    ),
    st.tuples(st.sampled_from(["merge", "unmerge"]), PAIRS),
    st.tuples(st.just("erase"), st.sampled_from(SUBJECTS)),
    st.tuples(st.just("wait"), st.sampled_from([1, 40])),
)
STEPS = st.lists(
    st.tuples(STEP, st.sampled_from(["install", "hear", "hear", "nothing", "skip"])), min_size=1, max_size=14
)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder: Path = tmp_path_factory.mktemp("decider") / "consent"
    make: Callable[[], str] | None = None
    if request.param == "postgresql":
        make = request.getfixturevalue("postgres_url")
    configured = ConsentSettings(data_dir=folder, database_url=make() if make else None)
    initialise(configured, clock=lambda: START)
    service = Service(create_app(configured, clock=lambda: service.now).state.workplace)
    with service.workplace.writing() as unit:
        for purpose in PURPOSES:
            declare(unit, purpose_named(purpose))
            publish(unit, Notice(purpose=purpose, language="en", text=NOTICE))
    yield service
    service.workplace.close()


@dataclass
class Brand:
    """A brand with its decider, told of events when a test says so."""

    service: Service
    caller: Caller
    decider: Decider
    told: list[Event] = field(default_factory=list)

    def install(self) -> None:
        with self.service.workplace.acting_for(self.caller.name).reading() as unit:
            for purpose in PURPOSES:
                self.decider.install(rosters.take(unit, self.caller.name, purpose))

    def hear(self) -> None:
        assert self.decider.position is not None
        with self.service.workplace.acting_for(self.caller.name).reading() as unit:
            told, end = events.since(unit, self.caller.name, self.decider.position)
        for event in (*told, end):
            self.decider.apply(event)

    def queries(self) -> Iterator[DecisionQuery]:
        for subject in SUBJECTS:
            for purpose in PURPOSES:
                for channel in (None, *CHANNELS):
                    yield DecisionQuery(brand=self.caller.name, subject=subject, purpose=purpose, channel=channel)


def begin(service: Service) -> Brand:
    caller = service.new_brand()
    policy = DeciderPolicy(max_age=timedelta(days=1))
    key = service.workplace.keys.snapshots.public_key
    decider = Decider(caller.name, key, policy, clock=lambda: service.now, tick=lambda: 0.0)
    brand = Brand(service, caller, decider)
    brand.install()
    with service.workplace.reading() as unit:
        decider.follow(rosters.take(unit, caller.name, PURPOSES[0]).head.body.log_size)
    brand.hear()
    return brand


def choice(brand: str, subject: str, scope: str, act: Act, minutes: int | None, now: datetime) -> Choice:
    if isinstance(scope, Channel):
        return Choice(brand=brand, subject=subject, act=act, channel=scope)
    ends = now + timedelta(minutes=minutes) if minutes is not None and act is YES else None
    return choice_of(brand, subject, scope, act).model_copy(update={"expires_at": ends})


def take(unit: Unit, caller: Caller, number: int, step: tuple[Any, ...]) -> None:
    what, *rest = step
    if what == "act":
        said = choice(caller.name, *rest, unit.now)
        record(unit, caller, ChoiceBatch(idempotency_key=str(number), choices=(said,)))
    elif what == "erase":
        erase(unit, SubjectRequest(brand=caller.name, subject=rest[0]))
    else:
        change = merge if what == "merge" else unmerge
        change(unit, caller, Merge(brand=caller.name, subject=rest[0][0], other=rest[0][1]))


BASE = [
    (("act", ANN, "conversion", YES, None), "hear"),
    (("act", ANN, Channel.EMAIL, YES, None), "hear"),
    (("act", BEN, "conversion", YES, None), "install"),
]


@settings(
    max_examples=examples(10, 25), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(STEPS)
@example([*BASE, (("act", ANN, Channel.EMAIL, NO, None), "hear"), (("act", ANN, "conversion", NO, None), "hear")])
@example([*BASE, (("merge", (ANN, BEN)), "install"), (("act", BEN, "conversion", NO, None), "hear")])
@example([*BASE, (("merge", (ANN, SUBJECTS[2])), "hear"), (("erase", BEN), "hear")])
@example([*BASE, (("erase", BEN), "hear")])
@example([*BASE, (("act", ANN, "conversion", NO, None), "skip"), (("erase", ANN), "hear")])
@example([*BASE, (("act", ANN, "conversion", YES, 30), "hear"), (("wait", 40), "nothing")])
@example(
    [
        *BASE,
        (("merge", (ANN, BEN)), "install"),
        (("act", ANN, "conversion", YES, 30), "hear"),
        (("act", BEN, "conversion", YES, 90), "hear"),
        (("wait", 40), "nothing"),
    ]
)
@example([(("act", ANN, "conversion", YES, 30), "install"), (("wait", 40), "nothing")])
def test_a_decider_never_allows_more_and_in_step_the_same(
    service: Service, steps: list[tuple[tuple[Any, ...], str]]
) -> None:
    brand = begin(service)
    for number, (step, then) in enumerate(steps):
        service.now += timedelta(seconds=1)
        if step[0] == "wait":
            service.now += timedelta(minutes=step[1])
        else:
            with suppress(NotFoundError), service.workplace.writing() as unit:
                take(unit, brand.caller, number, step)
        if then == "skip":
            continue
        if then == "install":
            brand.install()
        if then != "nothing" or step[0] != "wait":
            brand.hear()
        queries = list(brand.queries())
        with service.workplace.reading() as unit:
            answers = decide(Look(unit.session, unit.now), brand.caller, queries)
        for query, answer in zip(queries, answers, strict=True):
            local = brand.decider.decide(query.subject, query.purpose, query.channel)
            assert answer.allowed or not local.allowed, (query, local)
            if then == "install":
                assert local.allowed == answer.allowed, (query, local, answer)
            if then == "install" and local.allowed:
                found = (local.log_index, local.notice, local.log_size)
                assert found == (answer.log_index, answer.notice, answer.log_size)


def test_who_grants_does_not_stop_the_others(service: Service) -> None:
    """A change that takes nothing away leaves the roster in use; it is only not yet known."""
    brand = begin(service)
    for number, subject in enumerate((ANN, BEN)):
        with service.workplace.writing() as unit:
            take(unit, brand.caller, number, ("act", subject, "conversion", YES, None))
        if subject == ANN:
            brand.install()
    brand.hear()
    assert brand.decider.decide(ANN, "conversion").allowed
    assert brand.decider.decide(BEN, "conversion").reason is LocalReason.NOT_LISTED
    assert not brand.decider.due("conversion")


def test_a_brand_hears_of_its_own_customers_alone(service: Service) -> None:
    one, other = begin(service), begin(service)
    assert one.decider.position is not None
    with service.workplace.writing() as unit:
        take(unit, one.caller, 0, ("act", ANN, "conversion", YES, None))
        take(unit, one.caller, 1, ("act", ANN, "conversion", NO, None))
    found = []
    for brand in (one, other):
        with service.workplace.reading() as unit:
            told, end = events.since(unit, brand.caller.name, one.decider.position)
        found.append([type(event).__name__ for event in told])
    assert found == [["Changed", "Withdrawal"], []]
    assert end.log_size == one.decider.position + 3


def test_who_is_far_behind_or_ahead_is_told_to_begin_anew(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    brand = begin(service)
    size = brand.decider.position
    assert size is not None
    with service.workplace.reading() as unit:
        assert [events.since(unit, brand.caller.name, at)[1].log_size for at in (size, size + 1)] == [size] * 2
        assert events.since(unit, brand.caller.name, size + 1)[1] == events.Reset(log_size=size)
        monkeypatch.setattr(events, "MOST_BEHIND", 0)
        assert events.since(unit, brand.caller.name, size - 1)[1] == events.Reset(log_size=size)


def test_an_entry_of_several_events_is_told_again_from_its_beginning(service: Service) -> None:
    brand = begin(service)
    with service.workplace.writing() as unit:
        for number, subject in enumerate((ANN, BEN)):
            take(unit, brand.caller, number, ("act", subject, "conversion", YES, None))
        take(unit, brand.caller, 2, ("merge", (ANN, BEN)))
        take(unit, brand.caller, 3, ("act", BEN, "conversion", NO, None))
    assert brand.decider.position is not None
    with service.workplace.reading() as unit:
        told, _ = events.since(unit, brand.caller.name, brand.decider.position)
    marks = [(type(event).__name__, mark == event.log_index) for event, mark in events.with_ids(told)]
    assert marks[-3:] == [("Changed", False), ("Withdrawal", False), ("Withdrawal", True)]
    assert next(event for event in told if isinstance(event, Changed)).loses
