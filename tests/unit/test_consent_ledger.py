"""The ledger of the consent service: what counts, for whom, which line refuses, and older databases."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from older_database import insert, upgrade_to
from round_papers import DELTA, NOISE, PURPOSE, RUN, Rounds, digest, mechanism_of, rounds_of_two, task_of
from secure_papers import rounds_of_five
from sqlalchemy import select

from consent import errors
from consent.contract import Phase, PrivacyTarget
from consent.service.timeline import opened
from consent.store import Database
from consent.store.schema import SpendRow
from privacy.accounting import epsilon

MOMENT = datetime(2026, 11, 2, tzinfo=UTC)


@pytest.fixture
def rounds(consent_world: Any) -> Rounds:
    return rounds_of_two(consent_world)


@pytest.mark.parametrize("phase", list(Phase))
def test_whatever_a_round_asks_for_counts_alike(rounds: Rounds, phase: Phase) -> None:
    manifest = rounds.manifest(phase=phase)
    rounds.open(manifest)
    rounds.commit(rounds.release(manifest, model_after=manifest.model))
    rounds.open(rounds.manifest(run_id="another", round=3))
    (budget,) = rounds.world.officer.budgets("acme")
    assert budget.spent == pytest.approx(epsilon([NOISE], DELTA))
    assert budget.spent + budget.reserved == pytest.approx(epsilon([NOISE, NOISE], DELTA))


def test_a_refused_round_names_the_line_that_counts_last(rounds: Rounds) -> None:
    with pytest.raises(errors.BudgetRefusedError, match=r"Nothing was reserved before it\.$"):
        rounds.open(rounds.manifest(mechanism=mechanism_of(0.5), epsilon_after=99.0))
    rounds.open(rounds.manifest())
    rounds.open(rounds.manifest(run_id="another"))
    (budget,) = rounds.world.officer.budgets("acme")
    expected = rf"The last of 2 lines that count is entry {budget.last_line} of the log\.$"
    for changes in ({"mechanism": mechanism_of(0.5), "epsilon_after": 99.0}, {"epsilon_after": 0.01}):
        with pytest.raises(errors.BudgetRefusedError, match=expected):
            rounds.open(rounds.manifest(round=1, **changes))
    record = rounds.world.coordinator.run("another")
    with rounds.world.app.state.workplace.reading() as unit:
        (entry,) = opened(unit, [int(budget.last_line or 0)])
    assert entry.payload["digest"] == record.manifests[0].body.digest()


def test_what_was_given_back_does_not_count(consent_world: Any) -> None:
    run = rounds_of_five(consent_world)
    run.set_up()
    run.open(run.manifest())
    run.world.clock.advance(3_600)
    run.give_back("acme")
    (budget,) = run.world.officer.budgets("acme")
    assert (budget.spent, budget.reserved, budget.noise_multiplier, budget.last_line) == (0.0, 0.0, None, None)
    assert run.world.officer.participation("acme", digest("acme-0")) == ()
    assert len(run.world.officer.participation("bolt", digest("bolt-0"))) == 1


def test_a_customer_at_several_brands_of_a_secure_sum(consent_world: Any) -> None:
    """Noise that is added once has to hide a change k times as large."""
    run = rounds_of_five(consent_world, epsilon=4.0, brands_per_customer=3)
    run.set_up()
    manifest = run.manifest(epsilon_after=epsilon([NOISE], DELTA))
    run.open(manifest)
    expected = tuple(pytest.approx(epsilon([NOISE / brands], DELTA)) for brands in (1, 2, 3))
    assert run.world.officer.budgets("acme")[0].by_brands == expected
    (round_,) = run.world.officer.participation("acme", digest("acme-0"))
    assert (round_.by_brands, round_.epsilon_so_far) == (expected, expected[0])


def test_a_customer_at_several_brands_that_each_add_noise(consent_world: Any) -> None:
    """As many releases compose."""
    plain = rounds_of_two(consent_world)
    target = PrivacyTarget(epsilon=3.0, delta=DELTA, max_brands_per_customer=2)
    task = task_of().model_copy(update={"privacy": target})
    plain.world.officer.approve_task(task, 3.0, plain.brands)
    both = Rounds(plain.world, task, plain.brands)
    both.open(both.manifest())
    (budget,) = both.world.officer.budgets("acme")
    assert budget.by_brands == (
        pytest.approx(epsilon([NOISE], DELTA)),
        pytest.approx(epsilon([NOISE, NOISE], DELTA)),
    )


def test_a_ceiling_holds_for_customers_at_as_many_brands_as_the_task_says(consent_world: Any) -> None:
    run = rounds_of_five(consent_world, epsilon=2.0, brands_per_customer=3)
    run.set_up()
    affordable = next(count for count in range(1, 9) if epsilon([NOISE / 3] * (count + 1), DELTA) > 2.0)
    assert epsilon([NOISE] * (affordable + 1), DELTA) < 2.0
    for number in range(affordable):
        run.open(run.manifest(round=number, slot=number, epsilon_after=99.0))
    with pytest.raises(errors.BudgetRefusedError):
        run.open(run.manifest(round=affordable, slot=affordable, epsilon_after=99.0))


@pytest.fixture
def before_states(empty_database_url: str) -> Iterator[Database]:
    """A database of schema 0012 with a released and a reserved round."""
    database = Database.connect(empty_database_url)
    with database.engine.begin() as connection:
        upgrade_to(connection, "0012")
        for index in range(4):
            insert(connection, "log_entries", log_index=index, entry=b"e", salt=b"s" * 16, payload=b"{}")
        insert(connection, "purposes", purpose=PURPOSE, body=b"{}", log_index=0)
        task = digest("task")
        insert(connection, "tasks", digest=task, purpose=PURPOSE, body=b"{}", log_index=0)
        for number, phase in ((0, "marginals"), (1, "gradient")):
            body = json.dumps({"body": {"phase": phase}}).encode()
            of_round = {"run_id": RUN, "round": number}
            named = {"purpose": PURPOSE, "log_index": number + 1}
            manifest = digest(number)
            insert(
                connection,
                "rounds",
                digest=manifest,
                **of_round,
                **named,
                attempt=0,
                task=task,
                coordinator="c",
                body=body,
            )
            committed = number == 0
            insert(
                connection,
                "spends",
                **of_round,
                **named,
                brand="acme",
                noise_multiplier=NOISE,
                delta=DELTA,
                committed=committed,
                manifest=manifest if committed else None,
            )
        insert(
            connection,
            "releases",
            run_id=RUN,
            round=0,
            digest=digest("r"),
            model_after=digest("m"),
            coordinator="c",
            body=b"{}",
            log_index=3,
        )
    yield database
    database.close()


def test_lines_of_earlier_releases_keep_what_they_were(before_states: Database) -> None:
    before_states.migrate()
    before_states.check_schema()
    with before_states.reading() as session:
        rows = session.scalars(select(SpendRow).order_by(SpendRow.round)).all()
        told = [(row.kind, row.state, row.shared, row.brands_per_customer, row.settled_index) for row in rows]
    assert told == [("marginals", "committed", False, 1, 3), ("gradient", "reserved", False, 1, None)]
