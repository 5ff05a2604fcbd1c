"""Merged pseudonyms against a model: the strictest of all counts, and unmerging restores what each said."""

import hashlib
from collections.abc import Iterator
from datetime import timedelta

import pytest
from consent_model import NOTICE, START, Model, Service, choice_of, purpose_named
from hypothesis import given, settings
from hypothesis import strategies as st

from consent.contract import Act, DecisionQuery, Notice
from consent.service import create_app, initialise
from consent.service.choices import record
from consent.service.decisions import decide
from consent.service.holding import members
from consent.service.merges import groups_of, merge, unmerge
from consent.service.notices import publish
from consent.service.purposes import declare
from consent.service.snapshots import current, seal
from consent.service.work import Look
from consent.settings import ConsentSettings
from consent.wire import ChoiceBatch, Merge

PURPOSE = "conversion"
SUBJECTS = tuple(hashlib.sha256(bytes([number])).hexdigest() for number in range(5))

PAIRS = st.tuples(st.sampled_from(SUBJECTS), st.sampled_from(SUBJECTS)).filter(lambda pair: pair[0] != pair[1])
ACTS = st.tuples(st.just("act"), st.sampled_from(SUBJECTS), st.sampled_from(Act))
MERGES = st.tuples(st.sampled_from(["merge", "unmerge"]), PAIRS)
STEPS = st.lists(st.one_of(ACTS, MERGES), min_size=1, max_size=14)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    configured = ConsentSettings(data_dir=tmp_path_factory.mktemp("merges") / "consent")
    initialise(configured, clock=lambda: START)
    service = Service(create_app(configured, clock=lambda: service.now).state.workplace)
    with service.workplace.writing() as unit:
        declare(unit, purpose_named(PURPOSE))
        publish(unit, Notice(purpose=PURPOSE, language="en", text=NOTICE))
    yield service
    service.workplace.close()


def component(edges: set[frozenset[str]], subject: str) -> set[str]:
    """Everybody that a chain of merges leads to."""
    found = {subject}
    while grown := {end for edge in edges if edge & found for end in edge} - found:
        found |= grown
    return found


@settings(max_examples=25, deadline=None)
@given(STEPS)
def test_the_strictest_of_all_that_are_one_counts(service: Service, steps: list[tuple]) -> None:  # type: ignore[type-arg]
    caller, model, edges = service.new_brand(), Model(), set[frozenset[str]]()
    for tick, step in enumerate(steps):
        service.now = START + timedelta(seconds=tick)
        with service.workplace.writing() as unit:
            if step[0] == "act":
                choice = choice_of(caller.name, step[1], PURPOSE, step[2])
                record(unit, caller, ChoiceBatch(idempotency_key=str(tick), choices=(choice,)))
                model.act(step[1], PURPOSE, step[2], tick)
            else:
                edge = frozenset(step[1])
                wanted = Merge(brand=caller.name, subject=step[1][0], other=step[1][1])
                if step[0] == "merge":
                    merge(unit, caller, wanted)
                    edges.add(edge)
                elif edge in edges:
                    unmerge(unit, caller, wanted)
                    edges.remove(edge)
        with service.workplace.writing() as unit:
            expected = {
                one for one in SUBJECTS if all(model.allowed(other, PURPOSE) for other in component(edges, one))
            }
            queries = [DecisionQuery(brand=caller.name, subject=one, purpose=PURPOSE) for one in SUBJECTS]
            answers = zip(SUBJECTS, decide(Look(unit.session, unit.now), caller, queries), strict=True)
            assert {one for one, answer in answers if answer.allowed} == expected
            assert set(members(unit.session, caller.name, PURPOSE, service.now)) == expected
            seal(unit, PURPOSE, [caller.name])
            assert set(current(unit, caller.name, PURPOSE).members) == expected
            assert groups_of(unit.session, caller.name, SUBJECTS) == groups_of(unit.session, caller.name)
