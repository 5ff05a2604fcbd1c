"""Random histories of choices against a model of a dozen lines."""

import hashlib
from collections.abc import Iterator
from datetime import timedelta

import pytest
from consent_model import NOTICE, START, Model, Service, choice_of, purpose_named
from hypothesis import given, settings
from hypothesis import strategies as st

from consent.contract import Act, DecisionQuery, Notice
from consent.contract.membership import members_root
from consent.log.verify import verify_folder
from consent.service import create_app, initialise
from consent.service.choices import record
from consent.service.decisions import decide
from consent.service.notices import publish
from consent.service.purposes import declare
from consent.service.snapshots import current, seal
from consent.service.standing import Standing, after
from consent.service.work import Look
from consent.settings import ConsentSettings
from consent.wire import ChoiceBatch

PURPOSES = ("conversion", "churn")
SUBJECTS = tuple(hashlib.sha256(bytes([number])).hexdigest() for number in range(4))

ACTS = st.tuples(st.sampled_from(SUBJECTS), st.sampled_from(PURPOSES), st.sampled_from(Act))
STEPS = st.lists(st.tuples(st.integers(0, 2), st.lists(ACTS, min_size=1, max_size=4)), min_size=1, max_size=8)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    settings = ConsentSettings(data_dir=tmp_path_factory.mktemp("model") / "consent")
    initialise(settings, clock=lambda: START)
    service = Service(create_app(settings, clock=lambda: service.now).state.workplace)
    with service.workplace.writing() as unit:
        for purpose in PURPOSES:
            declare(unit, purpose_named(purpose))
            publish(unit, Notice(purpose=purpose, language="en", text=NOTICE))
    yield service
    service.workplace.close()
    assert verify_folder(settings.log_dir).findings == []


@settings(max_examples=25, deadline=None)
@given(STEPS)
def test_the_service_agrees_with_the_model(
    service: Service, steps: list[tuple[int, list[tuple[str, str, Act]]]]
) -> None:
    caller, model, tick = service.new_brand(), Model(), 0
    for number, (move, acts) in enumerate(steps):
        tick += move
        service.now = START + timedelta(seconds=tick)
        choices = tuple(choice_of(caller.name, *act) for act in acts)
        with service.workplace.writing() as unit:
            record(unit, caller, ChoiceBatch(idempotency_key=str(number), choices=choices))
        for act in acts:
            model.act(*act, tick)
    with service.workplace.writing() as unit:
        for purpose in PURPOSES:
            expected = tuple(sorted(one for one in SUBJECTS if model.allowed(one, purpose)))
            queries = [DecisionQuery(brand=caller.name, subject=one, purpose=purpose) for one in SUBJECTS]
            answers = zip(SUBJECTS, decide(Look(unit.session, unit.now), caller, queries), strict=True)
            assert tuple(sorted(one for one, answer in answers if answer.allowed)) == expected
            (head,) = seal(unit, purpose, [caller.name])
            view = current(unit, caller.name, purpose)
            assert (view.members, view.head) == (expected, head)
            assert head.body.root == members_root(expected)


@given(st.lists(st.tuples(st.integers(-5, 5), st.sampled_from(Act)), min_size=1, max_size=12))
def test_whatever_the_clock_does_a_withdrawal_is_the_last_word_of_its_instant(
    acts: list[tuple[int, Act]],
) -> None:
    standing: Standing | None = None
    for index, (second, act) in enumerate(acts):
        before = standing
        standing = after(standing, Standing(act, START + timedelta(seconds=second), index))
        if act is Act.WITHDRAW:
            assert not standing.granted
        if before is not None:
            assert standing.since >= before.since
            undone = standing.granted and not before.granted
            assert not undone or START + timedelta(seconds=second) > before.since
