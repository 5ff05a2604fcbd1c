"""What is kept of requests under keys ends by the day, a piece at a time, and nothing else goes with it."""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import anyio
import httpx
import pytest
import sqlalchemy as sa
from older_database import insert, upgrade_to
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from consent.bulk_import.reading import NDJSON
from consent.contract import Act
from consent.service import kept_requests
from consent.store import Database
from consent.store.schema import IdempotencyRow

ANN, BEN = (hashlib.sha256(name).hexdigest() for name in (b"ann", b"ben"))
DAY = 86_400
DAYS = 30


@pytest.fixture
def world(consent_worlds: Callable[..., Any], database_url: str) -> Any:
    world = consent_worlds(database_url=database_url)
    world.declare("conversion")
    world.brand("acme")
    with world.app.state.workplace.writing() as unit:
        unit.session.execute(sa.delete(IdempotencyRow))
    return world


def tidy(world: Any, *, days: int = 0) -> None:
    world.clock.advance(days * DAY)
    world.app.state.tidying.tidy()


def merge(world: Any, key: str, *, undo: bool = False) -> httpx.Response:
    headers = {"Authorization": f"Bearer {world.tokens['acme']}", "Idempotency-Key": key}
    body = {"brand": "acme", "subject": ANN, "other": BEN}
    path = "unmerge" if undo else "merge"
    response: httpx.Response = world.http.post(f"/v1/subjects/{path}", json=body, headers=headers)
    assert response.is_success
    return response


def kept(world: Any) -> int:
    with world.app.state.workplace.reading() as unit:
        return len(unit.session.scalars(select(IdempotencyRow.key)).all())


def was_repeated(response: httpx.Response) -> bool:
    return "idempotency-replayed" in response.headers


def test_a_repeat_is_known_for_days_and_then_is_a_new_request(world: Any) -> None:
    merge(world, "once")
    tidy(world, days=DAYS)
    assert was_repeated(merge(world, "once"))
    merge(world, "undo", undo=True)
    tidy(world, days=1)
    assert kept(world) == 1
    assert not was_repeated(merge(world, "once"))
    assert was_repeated(merge(world, "undo", undo=True))


def test_the_days_are_a_setting(consent_worlds: Callable[..., Any]) -> None:
    world = consent_worlds(idempotency_days=2)
    world.brand("acme")
    tidy(world, days=2)
    assert kept(world) == 1
    tidy(world, days=1)
    assert kept(world) == 0


def test_many_go_a_piece_at_a_time(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_requests, "PIECE", 2)
    for number in range(5):
        merge(world, f"old-{number}", undo=bool(number % 2))
    world.clock.advance((DAYS + 1) * DAY)
    merge(world, "new")
    work = world.app.state.workplace
    pieces = [kept_requests.forget(work, DAYS) for _ in range(5)]
    assert sorted(pieces) == [False, False, True, True, True]
    assert pieces == sorted(pieces, reverse=True)
    assert kept(world) == 1


def test_of_two_at_one_place_of_the_log_the_older_one_goes_alone(world: Any) -> None:
    """A repeat that changes nothing makes no entry, so the next request begins where it did."""
    merge(world, "first")
    merge(world, "old-without-effect")
    world.clock.advance((DAYS + 1) * DAY)
    merge(world, "new-without-effect")
    with world.app.state.workplace.reading() as unit:
        indices = unit.session.scalars(select(IdempotencyRow.first_index)).all()
    assert len(set(indices)) < len(indices)
    tidy(world)
    assert kept(world) == 1
    assert was_repeated(merge(world, "new-without-effect"))


def test_batches_and_files_end_alike(world: Any) -> None:
    acme = world.brand("acme")
    acme.record([world.choice("acme", ANN, Act.GRANT)], idempotency_key="batch")
    row = json.dumps({"subject": BEN, "act": "withdraw", "purpose": "conversion"}).encode() + b"\n"
    headers = {
        "Authorization": f"Bearer {world.tokens['acme']}",
        "Content-Type": NDJSON,
        "Idempotency-Key": "file",
    }
    assert world.http.post("/v1/imports", content=row, headers=headers).is_success
    assert kept(world) == 2
    tidy(world, days=DAYS)
    assert kept(world) == 2
    tidy(world, days=1)
    assert kept(world) == 0


def test_what_is_kept_names_a_day_and_no_moment(world: Any) -> None:
    merge(world, "once")
    with world.app.state.workplace.reading() as unit:
        (day,) = unit.session.scalars(select(IdempotencyRow.made_on))
    assert (type(day).__name__, day) == ("date", world.clock.now.date())


def test_a_running_service_tidies_by_itself_and_ends(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = threading.Event()

    def forget(*_: object) -> bool:
        looked.set()
        return False

    monkeypatch.setattr(kept_requests, "forget", forget)

    async def run() -> bool:
        async with world.app.router.lifespan_context(world.app):
            return await anyio.to_thread.run_sync(looked.wait, 20)

    assert anyio.run(run)
    assert not world.app.state.tidying._thread.is_alive()


def test_a_failure_is_told_without_what_failed_and_tried_again(
    world: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    merge(world, "once")
    world.clock.advance((DAYS + 1) * DAY)
    with monkeypatch.context() as patch:
        patch.setattr(world.app.state.workplace.database, "writing", fail)
        tidy(world)
    assert '"fault": "OperationalError"' in caplog.text
    assert ANN not in caplog.text
    tidy(world)
    assert kept(world) == 0


def fail() -> None:
    raise OperationalError(f"row of {ANN}", None, OSError(ANN))


@pytest.fixture
def earlier(empty_database_url: str) -> Iterator[Database]:
    """A database of the release before, in which a request is kept."""
    database = Database.connect(empty_database_url)
    with database.engine.begin() as connection:
        upgrade_to(connection, "0011")
        insert(connection, "log_entries", log_index=0, entry=b"")
        insert(connection, "principals", id=1, role="brand", name="acme", token_hash="0", log_index=0)
        insert(connection, "idempotency_keys", principal_id=1, key="k", request="r", response=b"", first_index=0)
    yield database
    database.close()


def test_what_was_kept_before_the_upgrade_counts_from_it_on(earlier: Database) -> None:
    before = datetime.now(UTC).date()
    earlier.migrate()
    with earlier.reading() as session:
        (row,) = session.scalars(select(IdempotencyRow))
    assert before <= row.made_on <= datetime.now(UTC).date()
    assert (row.key, row.request, row.first_index) == ("k", "r", 0)
