"""Sealing from a kept tree against building anew, after random histories, with two services on one database."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from consent_model import NOTICE, START, Service, choice_of, purpose_named
from depth import examples
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from consent.contract import Act, Notice
from consent.contract.membership import members_root
from consent.errors import NotFoundError
from consent.service import create_app, initialise, member_tree, trees
from consent.service.choices import record
from consent.service.erasure import erase
from consent.service.holding import members
from consent.service.merges import merge, unmerge
from consent.service.notices import publish
from consent.service.purposes import declare
from consent.service.snapshots import current, prepare, prove, seal
from consent.service.work import Caller, Unit
from consent.settings import ConsentSettings
from consent.wire import ChoiceBatch, Merge, SubjectRequest

PURPOSE = "conversion"
SUBJECTS = tuple(hashlib.sha256(bytes([number])).hexdigest() for number in range(6))
VALIDITY = timedelta(hours=1)

PAIRS = st.tuples(st.sampled_from(SUBJECTS), st.sampled_from(SUBJECTS)).filter(lambda pair: pair[0] != pair[1])
ACTS = st.tuples(st.just("act"), st.sampled_from(SUBJECTS), st.sampled_from(Act), st.sampled_from([None, 30, 90]))
OTHERS = st.one_of(
    st.tuples(st.sampled_from(["merge", "unmerge"]), PAIRS),
    st.tuples(st.just("erase"), st.sampled_from(SUBJECTS)),
    st.tuples(st.just("wait"), st.sampled_from([1, 40, 70])),
    st.tuples(st.just("lost"), st.sampled_from(SUBJECTS), st.sampled_from(Act)),
)
STEPS = st.lists(st.tuples(st.one_of(ACTS, OTHERS), st.booleans()), min_size=1, max_size=12)


class LostError(Exception):
    """A transaction is taken back after it was sealed in."""


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def services(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Service]]:
    """Two processes' worth of service on one database; only the first of them enrols brands."""
    folder: Path = tmp_path_factory.mktemp("trees") / "consent"
    make: Callable[[], str] | None = None
    if request.param == "postgresql":
        make = request.getfixturevalue("postgres_url")
    configured = ConsentSettings(
        data_dir=folder,
        database_url=make() if make else None,
        snapshot_validity=int(VALIDITY.total_seconds()),
    )
    initialise(configured, clock=lambda: START)
    both: list[Service] = []
    for _ in range(2):
        both.append(Service(create_app(configured, clock=lambda: both[0].now).state.workplace))
    with both[0].workplace.writing() as unit:
        declare(unit, purpose_named(PURPOSE))
        publish(unit, Notice(purpose=PURPOSE, language="en", text=NOTICE))
    yield both
    for service in both:
        service.workplace.close()


def take(unit: Unit, caller: Caller, number: int, step: tuple[Any, ...]) -> None:
    what, *rest = step
    if what in {"act", "lost"}:
        subject, act, minutes = [*rest, None][:3]
        choice = choice_of(caller.name, subject, PURPOSE, act)
        if minutes is not None and act is Act.GRANT:
            choice = choice.model_copy(update={"expires_at": unit.now + timedelta(minutes=minutes)})
        record(unit, caller, ChoiceBatch(idempotency_key=str(number), choices=(choice,)))
    elif what == "erase":
        erase(unit, SubjectRequest(brand=caller.name, subject=rest[0]))
    elif what == "merge":
        merge(unit, caller, Merge(brand=caller.name, subject=rest[0][0], other=rest[0][1]))


def check(unit: Unit, brand: str) -> None:
    """Seal, and compare with everybody who is in by the one rule."""
    (head,) = seal(unit, PURPOSE, [brand])
    expected = members(unit.session, brand, PURPOSE, head.body.not_after)
    assert head.body.root == members_root(expected)
    assert current(unit, brand, PURPOSE).members == expected
    assert head.body.size_class <= len(expected) < 2 * head.body.size_class + 1
    for subject in SUBJECTS:
        proof = prove(unit, brand, PURPOSE, subject)
        key = unit.keys.snapshots.public_key
        found = proof.verify(brand=brand, purpose=PURPOSE, subject=subject, service_key=key)
        assert found == (subject in expected)


YES, NO = Act.GRANT, Act.WITHDRAW
ANN, BEN = SUBJECTS[:2]
BOTH = [(("act", ANN, YES, None), False), (("act", BEN, YES, None), False)]
SECOND = [(("merge", (ANN, BEN)), False), (("act", BEN, NO, None), False)]


@settings(max_examples=examples(8, 25), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
@example([*BOTH, (("erase", ANN), False), (("act", BEN, NO, None), True)])
@example([*BOTH, (("act", ANN, NO, None), True), (("erase", ANN), True), (("act", BEN, NO, None), False)])
@example([*BOTH, *SECOND, (("unmerge", (ANN, BEN)), False), (("act", BEN, YES, None), True)])
@example([*BOTH, (("act", ANN, YES, 90), False), (("wait", 40), True), (("wait", 40), False), (("wait", 1), True)])
@example(
    [
        (("act", ANN, YES, 90), False),
        (("wait", 50), False),
        (("wait", -50), False),
        (("act", BEN, YES, None), False),
    ]
)
@example([*BOTH, (("lost", ANN, NO), False), (("act", BEN, NO, None), True), (("act", BEN, YES, None), False)])
def test_a_kept_tree_is_the_tree_that_would_be_built(
    services: list[Service], steps: list[tuple[tuple[Any, ...], bool]]
) -> None:
    caller = services[0].new_brand()
    for number, (step, second) in enumerate(steps):
        work = services[second].workplace
        services[0].now += timedelta(seconds=1)
        if step[0] == "wait":
            services[0].now += timedelta(minutes=step[1])
        elif step[0] == "lost":
            with suppress(LostError), work.writing() as unit:
                take(unit, caller, number, step)
                check(unit, caller.name)
                raise LostError
        elif step[0] == "unmerge":
            with suppress(NotFoundError), work.writing() as unit:
                unmerge(unit, caller, Merge(brand=caller.name, subject=step[1][0], other=step[1][1]))
        else:
            with work.writing() as unit:
                take(unit, caller, number, step)
        with work.reading() as unit:
            prepare(unit, PURPOSE, [caller.name])
        with work.writing() as unit:
            check(unit, caller.name)


def test_a_change_costs_no_second_reading_of_everybody(
    services: list[Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    caller, work = services[0].new_brand(), services[0].workplace
    with work.writing() as unit:
        take(unit, caller, 0, ("act", SUBJECTS[0], Act.GRANT))
        seal(unit, PURPOSE, [caller.name])
    reads: list[str] = []
    monkeypatch.setattr(trees, "members", lambda *_: reads.append("all") or ())
    services[0].now += timedelta(seconds=1)
    with work.writing() as unit:
        take(unit, caller, 1, ("act", SUBJECTS[1], Act.GRANT))
        (head,) = seal(unit, PURPOSE, [caller.name])
    assert (reads, head.body.root) == ([], members_root(SUBJECTS[:2]))


def test_what_is_kept_is_bounded(services: list[Service]) -> None:
    work = services[0].workplace
    caller = services[0].new_brand()
    with work.writing() as unit:
        take(unit, caller, 0, ("act", SUBJECTS[0], Act.GRANT))
        seal(unit, PURPOSE, [caller.name])
        kept = unit.trees.get(caller.name, PURPOSE)
    assert kept is not None
    small = type(unit.trees)(most=2, most_members=3)
    for name in ("a", "b", "c"):
        small.put(name, PURPOSE, kept)
    assert [small.get(name, PURPOSE) is kept for name in ("a", "b", "c")] == [False, True, True]
    tree = member_tree.MemberTree.build(sorted(bytes([number]) * 32 for number in range(3)))
    small.put("d", PURPOSE, trees.KeptTree(tree, kept.until, kept.size, kept.last_entry))
    assert [small.get(name, PURPOSE) is None for name in ("b", "c", "d")] == [True, True, False]
