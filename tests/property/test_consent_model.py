"""Random histories of choices against a model of a dozen lines."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consent.contract import Act, Choice, DecisionQuery, Notice, Purpose, SigningKey
from consent.log.verify import verify_folder
from consent.service import create_app, initialise
from consent.service.choices import record
from consent.service.decisions import decide
from consent.service.principals import enrol
from consent.service.purposes import declare, publish
from consent.service.snapshots import current, members_root, seal
from consent.service.standing import Standing, after
from consent.service.work import Caller, Workplace
from consent.settings import ConsentSettings
from consent.wire import ChoiceBatch, Enrolment, Role

PURPOSES = ("conversion", "churn")
SUBJECTS = tuple(hashlib.sha256(bytes([number])).hexdigest() for number in range(4))
NOTICE = "May we?"
DIGEST = hashlib.sha256(NOTICE.encode()).hexdigest()
START = datetime(2026, 11, 2, tzinfo=UTC)

ACTS = st.tuples(st.sampled_from(SUBJECTS), st.sampled_from(PURPOSES), st.sampled_from(Act))
STEPS = st.lists(st.tuples(st.integers(0, 2), st.lists(ACTS, min_size=1, max_size=4)), min_size=1, max_size=8)


class Model:
    """Yes only if there is a yes that is strictly later than every no, on a clock that never steps back."""

    def __init__(self) -> None:
        self.acts: dict[tuple[str, str], list[tuple[int, Act]]] = {}

    def act(self, subject: str, purpose: str, act: Act, at: int) -> None:
        self.acts.setdefault((subject, purpose), []).append((at, act))

    def allowed(self, subject: str, purpose: str) -> bool:
        acts = self.acts.get((subject, purpose), [])
        last_no = max((at for at, act in acts if act is Act.WITHDRAW), default=-1)
        return any(at > last_no for at, act in acts if act is Act.GRANT)


@dataclass
class Service:
    """One service for all examples; each example is a brand of its own."""

    workplace: Workplace
    now: datetime = START
    brands: int = 0

    def new_brand(self) -> Caller:
        self.brands += 1
        name, key = f"brand-{self.brands}", SigningKey.generate().public_key
        with self.workplace.writing() as unit:
            enrol(unit, Enrolment(role=Role.BRAND, name=name, public_key=key))
        return Caller(id=1 + self.brands, role=Role.BRAND, name=name, public_key=key)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    settings = ConsentSettings(data_dir=tmp_path_factory.mktemp("model") / "consent")
    initialise(settings, clock=lambda: START)
    service = Service(create_app(settings, clock=lambda: service.now).state.workplace)
    with service.workplace.writing() as unit:
        for purpose in PURPOSES:
            declare(unit, _purpose(purpose))
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
        choices = tuple(_choice(caller.name, *act) for act in acts)
        with service.workplace.writing() as unit:
            record(unit, caller, ChoiceBatch(idempotency_key=str(number), choices=choices))
        for act in acts:
            model.act(*act, tick)
    with service.workplace.writing() as unit:
        for purpose in PURPOSES:
            expected = tuple(sorted(one for one in SUBJECTS if model.allowed(one, purpose)))
            queries = [DecisionQuery(brand=caller.name, subject=one, purpose=purpose) for one in SUBJECTS]
            answers = zip(SUBJECTS, decide(unit, caller, queries), strict=True)
            assert tuple(sorted(one for one, answer in answers if answer.allowed)) == expected
            (head,) = seal(unit, purpose, [caller.name])
            view = current(unit, caller.name, purpose)
            assert (view.members, view.head) == (expected, head)
            assert head.body.root == members_root(expected)


def _purpose(name: str) -> Purpose:
    return Purpose(
        purpose=name, title=name, legal_basis="consent", data_categories=("behaviour",), retention_days=30
    )


def _choice(brand: str, subject: str, purpose: str, act: Act) -> Choice:
    notice = DIGEST if act is Act.GRANT else None
    return Choice(brand=brand, subject=subject, act=act, purpose=purpose, notice=notice)


@given(st.lists(st.tuples(st.integers(-5, 5), st.sampled_from(Act)), min_size=1, max_size=12))
def test_whatever_the_clock_does_a_withdrawal_is_the_last_word_of_its_instant(
    acts: list[tuple[int, Act]],
) -> None:
    standing: Standing | None = None
    for index, (second, act) in enumerate(acts):
        before = standing
        standing = after(standing, act, START + timedelta(seconds=second), index)
        if act is Act.WITHDRAW:
            assert not standing.granted
        if before is not None:
            assert standing.since >= before.since
            undone = standing.granted and not before.granted
            assert not undone or START + timedelta(seconds=second) > before.since
