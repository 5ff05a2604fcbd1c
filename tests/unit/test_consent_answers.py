"""Decisions are accounted for: each answer that was given can be proven, and none that was not."""

import hashlib
import json
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from typer.testing import CliRunner

from consent import errors
from consent.answers import AnswerEvidence, KeptAnswer
from consent.client import ConsentClient
from consent.commands import audit
from consent.contract import Act, Channel, Decision, DecisionQuery, DecisionReason
from consent.log.merkle import root_hash
from consent.searching import LogQuery
from consent.service import answers as accounting
from consent.service.answers import KEPT, AnswerLog, AnswerTree
from consent.store.answers import AnswerTreeRow

ANN, BEN, CAT = (hashlib.sha256(name.encode()).hexdigest() for name in ("ann", "ben", "cat"))
PURPOSES = ("conversion", "churn", "conversion", "undeclared", "conversion")
NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)


@pytest.fixture
def world(consent_worlds: Callable[..., Any], database_url: str) -> Any:
    """A service on both databases."""
    found = consent_worlds(database_url=database_url)
    for purpose in ("conversion", "churn"):
        found.declare(purpose)
    found.record("acme", Act.GRANT, ANN)
    return found


def queries(*subjects: str, brand: str = "acme") -> list[DecisionQuery]:
    return [
        DecisionQuery(brand=brand, subject=one, purpose=purpose, channel=channel)
        for one in subjects
        for purpose, channel in zip(PURPOSES, (None, None, Channel.SMS, None, None), strict=True)
    ]


def asked(world: Any, *subjects: str, brand: str = "acme") -> tuple[KeptAnswer, ...]:
    """Ask, and keep what was answered."""
    found = queries(*subjects, brand=brand)
    answer = world.brand(brand).decide_provably(found)
    kept: tuple[KeptAnswer, ...] = answer.receipt.kept(found, answer.decisions)
    return kept


def accounts(world: Any) -> list[dict[str, Any]]:
    page = world.officer.search_log(LogQuery(kind="decisions_answered"))
    return [hit.payload for hit in page.entries]


def checked(world: Any, tmp_path: Path, evidence: AnswerEvidence) -> tuple[int, str]:
    file = tmp_path / "evidence.json"
    file.write_text(evidence.model_dump_json())
    result = CliRunner().invoke(
        audit, ["check-decision", str(file), "--vkey", str(world.settings.log_dir / "vkey")]
    )
    assert "Traceback" not in result.output
    return result.exit_code, result.output.strip().splitlines()[-1]


def test_everything_that_was_answered_is_in_the_log_once(world: Any) -> None:
    world.clock.advance()
    since = world.clock().isoformat()
    kept = [*asked(world, ANN), *asked(world, BEN, brand="bolt")]
    world.clock.advance(0.5)
    kept += asked(world, CAT)
    world.app.state.workplace.answers.flush()
    found = {(one["brand"], one.get("purpose")): one for one in accounts(world)}
    assert {tree: (one["asked"], one["allowed"]) for tree, one in found.items()} == {
        ("acme", "conversion"): (6, 2),
        ("acme", "churn"): (2, 0),
        ("acme", None): (2, 0),
        ("bolt", "conversion"): (3, 0),
        ("bolt", "churn"): (1, 0),
        ("bolt", None): (1, 0),
    }
    assert (found["acme", "churn"]["since"], found["acme", "churn"]["until"]) == (since, world.clock().isoformat())
    for (brand, purpose), one in found.items():
        mine = [answer for answer in kept if (answer.query.brand, answer.tree) == (brand, purpose)]
        assert [answer.place for answer in mine] == list(range(len(mine)))
        assert root_hash([answer.leaf() for answer in mine]).hex() == one["root"]
    world.app.state.workplace.answers.flush()
    assert len(accounts(world)) == len(found)


def test_nothing_of_question_and_answer_is_kept_but_hashes(world: Any) -> None:
    kept = asked(world, BEN)
    world.app.state.workplace.answers.flush()
    with world.app.state.workplace.reading() as unit:
        rows = unit.session.scalars(select(AnswerTreeRow)).all()
    assert {row.leaves[:32] for row in rows} == {one.leaf() for one in kept if one.place == 0}
    told = json.dumps(accounts(world)) + repr([vars(row) for row in rows])
    for secret in (BEN, *(one.salt for one in kept)):
        assert secret not in told


def test_a_brand_proves_an_answer_that_it_was_given(world: Any, tmp_path: Path) -> None:
    kept = asked(world, ANN, BEN)
    world.app.state.workplace.answers.flush()
    brand: ConsentClient = world.brand("acme")
    for answer in kept:
        assert checked(world, tmp_path, brand.prove_answer(answer)) == (0, "VERIFIED")
    for reader in (world.brand_admin("acme"), world.officer, world.auditor):
        assert checked(world, tmp_path, reader.prove_answer(kept[0])) == (0, "VERIFIED")


def test_an_answer_that_was_not_given_is_disproved(world: Any, tmp_path: Path) -> None:
    kept = asked(world, ANN, BEN)
    world.app.state.workplace.answers.flush()
    (denied,) = (one for one in kept if one.query.subject == BEN and one.query.purpose == "churn")
    granted = kept[0].decision
    lies = {
        "another answer was given at its place": [
            denied.model_copy(update={"decision": granted}),
            kept[0].model_copy(update={"salt": "0" * 32}),
            kept[0].model_copy(update={"place": 1}),
            kept[0].model_copy(update={"query": kept[0].query.model_copy(update={"subject": CAT})}),
        ]
    }
    for why, answers in lies.items():
        for answer in answers:
            evidence = world.auditor.prove_answer(answer)
            assert checked(world, tmp_path, evidence) == (1, f"DISPROVED: {why}")
    shown = world.auditor.prove_answer(kept[0])
    beyond = shown.model_copy(update={"answer": kept[0].model_copy(update={"place": 99})})
    assert checked(world, tmp_path, beyond)[1].startswith("DISPROVED: fewer answers")


def test_evidence_that_was_tampered_with_shows_nothing(world: Any, tmp_path: Path) -> None:
    kept = asked(world, ANN, BEN)
    world.app.state.workplace.answers.flush()
    true, other = world.auditor.prove_answer(kept[0]), world.auditor.prove_answer(kept[1])
    lie = kept[0].model_copy(update={"place": 1})
    forged_root = true.proof.opening.replace(json.loads(true.proof.opening)["payload"]["root"], "0" * 64)
    tampered = [
        true.model_copy(update={"answer": lie}),
        true.model_copy(update={"answer": kept[1]}),
        true.model_copy(update={"answer": kept[0].model_copy(update={"batch": "0" * 32})}),
        true.model_copy(update={"log_proof": other.log_proof}),
        true.model_copy(update={"proof": true.proof.model_copy(update={"leaf": kept[1].leaf().hex()})}),
        true.model_copy(update={"proof": true.proof.model_copy(update={"leaf": "0" * 64})}),
        true.model_copy(update={"proof": true.proof.model_copy(update={"path": ()})}),
        true.model_copy(update={"proof": true.proof.model_copy(update={"path": ("***",)})}),
        true.model_copy(update={"proof": true.proof.model_copy(update={"opening": forged_root})}),
    ]
    for evidence in tampered:
        code, verdict = checked(world, tmp_path, evidence)
        assert (code, verdict[:14]) == (1, "NOT VERIFIED: "), verdict


def test_one_brand_learns_nothing_of_anothers_answers(world: Any) -> None:
    (answer, *_) = asked(world, ANN)
    world.app.state.workplace.answers.flush()
    for spy in (world.brand("spy"), world.brand_admin("spy")):
        with pytest.raises(errors.NotFoundError):
            spy.prove_answer(answer)
    for wrong in ({"place": 3}, {"batch": "0" * 32}):
        with pytest.raises(errors.NotFoundError):
            world.brand("acme").prove_answer(answer.model_copy(update=wrong))


def test_what_is_left_is_logged_when_the_service_ends(world: Any, consent_worlds: Callable[..., Any]) -> None:
    asked(world, ANN)
    world.app.state.workplace.close()
    work = world.app.state.workplace
    with work.reading() as unit:
        rows = unit.session.scalars(select(AnswerTreeRow)).all()
    assert sum(len(row.leaves) for row in rows) == len(PURPOSES) * 32


def test_answers_are_logged_beside_the_requests(consent_worlds: Callable[..., Any]) -> None:
    world = consent_worlds(decision_interval=0.01)
    logged = threading.Event()
    store = world.app.state.workplace.answers._store

    def noting(trees: Sequence[AnswerTree]) -> None:
        store(trees)
        logged.set()

    world.app.state.workplace.answers._store = noting
    asked(world, ANN)
    assert logged.wait(30)
    assert sum(one["asked"] for one in accounts(world)) == len(PURPOSES)


def test_leaves_are_deleted_after_their_days_and_roots_stay(world: Any) -> None:
    (old, *_) = asked(world, ANN)
    work = world.app.state.workplace
    work.answers.flush()
    world.clock.advance(KEPT.total_seconds() + 1)
    (new, *_) = asked(world, ANN)
    work.answers.flush()
    assert world.brand("acme").prove_answer(new).answer == new
    with pytest.raises(errors.NotFoundError):
        world.brand("acme").prove_answer(old)
    assert len(accounts(world)) == 6


DENIED = Decision(allowed=False, reason=DecisionReason.NO_GRANT)
ONE = [DecisionQuery(brand="acme", subject=ANN, purpose="conversion")]


def test_row_23_answers_wait_while_the_store_fails_and_none_is_lost_or_counted_twice() -> None:
    stored: list[AnswerTree] = []
    failing = True

    def store(trees: Sequence[AnswerTree]) -> None:
        if failing:
            raise OperationalError("INSERT", {}, Exception("disk full"))
        stored.extend(trees)

    log = AnswerLog(store, interval=60)
    for second in range(3):
        log.take("acme", ONE, [DENIED], NOON + timedelta(seconds=second))
        with pytest.raises(OperationalError):
            log.flush()
    failing = False
    log.take("acme", ONE, [DENIED], NOON + timedelta(seconds=3))
    log.close()
    log.flush()
    assert [(tree.asked, tree.since) for tree in stored] == [
        (1, NOON + timedelta(seconds=second)) for second in range(4)
    ]


def test_row_23_no_decision_is_given_that_could_not_be_accounted_for(
    consent_worlds: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounting, "MOST_WAITING", 2 * len(PURPOSES))
    world = consent_worlds()
    work = world.app.state.workplace
    store, work.answers._store = work.answers._store, _full
    for _ in range(2):
        asked(world, ANN)
        with pytest.raises(OperationalError):
            work.answers.flush()
    for _ in range(2):
        with pytest.raises(errors.UnavailableError, match="none is given"):
            asked(world, ANN)
    work.answers._store = store
    work.answers.flush()
    asked(world, ANN)
    work.answers.flush()
    assert sum(one["asked"] for one in accounts(world)) == 3 * len(PURPOSES)


def _full(_: Sequence[AnswerTree]) -> None:
    raise OperationalError("INSERT", {}, Exception("disk full"))


def test_threads_that_answer_at_once_get_places_of_their_own() -> None:
    stored: list[AnswerTree] = []
    log = AnswerLog(stored.extend, interval=0.001)
    places: list[tuple[str, int]] = []

    def ask() -> None:
        for _ in range(200):
            receipt = log.take("acme", ONE * 3, [DENIED] * 3, NOON)
            places.extend((receipt.batch, place) for place in receipt.places)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    assert len(set(places)) == len(places) == 4 * 200 * 3
    assert sorted((tree.batch, place) for tree in stored for place in range(tree.asked)) == sorted(places)
