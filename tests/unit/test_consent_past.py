"""What held at a moment, and what holds now: notices that replace others later, and what coverage counts."""

import hashlib
import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from older_database import insert, upgrade_to
from rights_desk import CONTROLLER
from sqlalchemy import select

from consent.contract import Act, Notice
from consent.rights import AccessRequest, ReceiptRequest
from consent.store import Database
from consent.store.schema import NoticeRow
from consent.wire import PurposeCoverage

ANN, BEN, CAT, DAN = (hashlib.sha256(name.encode()).hexdigest() for name in ("ann", "ben", "cat", "dan"))
PURPOSE = "conversion"


@pytest.fixture
def world(consent_worlds: Callable[..., Any], database_url: str) -> Any:
    found = consent_worlds(database_url=database_url)
    found.declare(PURPOSE)
    return found


def publish(world: Any, text: str, replaces: str | None = None) -> datetime:
    world.clock.advance()
    world.officer.publish_notice(Notice(purpose=PURPOSE, language="en", text=text, replaces=replaces))
    at: datetime = world.clock()
    return at


def reason_at(world: Any, at: datetime) -> str:
    wanted = AccessRequest(brand="acme", subject=ANN, as_of=at)
    moment = world.customer("acme", ANN).access(wanted).as_of
    assert moment is not None
    reason: str = moment.consents[0].reason
    return reason


def test_a_notice_that_is_later_named_as_replaced_counts_as_of_then(world: Any) -> None:
    world.record("acme", Act.GRANT, ANN)
    published = publish(world, "May we share it?")
    replaced = publish(world, "May we share it?", replaces=world.notices[PURPOSE])
    told = [reason_at(world, at) for at in (published, replaced - timedelta(microseconds=1), replaced)]
    assert told == ["granted", "granted", "notice_changed"]


def test_a_receipt_tells_when_the_notice_was_replaced(world: Any) -> None:
    acme = world.brand("acme")
    acme.record_controller("acme", CONTROLLER)
    world.record("acme", Act.GRANT, ANN)
    publish(world, "May we share it?")
    replaced = publish(world, "May we share it?", replaces=world.notices[PURPOSE])
    receipt = acme.receipt(ReceiptRequest(brand="acme", subject=ANN, purpose=PURPOSE))
    assert replaced.isoformat().replace("+00:00", "Z") in receipt.decode()


def coverage(world: Any) -> PurposeCoverage:
    (found,) = world.officer.coverage("acme")
    counted: PurposeCoverage = found
    return counted


def counts(world: Any) -> tuple[int, int, int, int]:
    one = coverage(world)
    return one.granted, one.lapsed, one.withdrawn, one.never_asked


def test_coverage_counts_what_holds(world: Any) -> None:
    acme = world.brand("acme")
    world.record("acme", Act.GRANT, ANN, BEN)
    world.clock.advance()
    soon = world.clock() + timedelta(hours=1)
    acme.record([world.choice("acme", CAT, Act.GRANT, expires_at=soon)], idempotency_key="soon")
    world.record("acme", Act.WITHDRAW, DAN)
    assert counts(world) == (3, 0, 1, 0)
    world.clock.advance(3_600)
    assert counts(world) == (2, 1, 1, 0)
    acme.merge("acme", ANN, DAN)
    assert counts(world) == (1, 2, 1, 0)
    acme.merge("acme", ANN, BEN)
    assert counts(world) == (0, 3, 1, 0)
    acme.unmerge("acme", ANN, DAN)
    assert counts(world) == (2, 1, 1, 0)
    publish(world, "May we share it?", replaces=world.notices[PURPOSE])
    assert counts(world) == (0, 3, 1, 0)


OLD, NEW = "a" * 64, "b" * 64


@pytest.fixture
def earlier(empty_database_url: str) -> Iterator[Database]:
    """A database of schema 0012, in which a notice is replaced by one that was there before it was named."""
    database = Database.connect(empty_database_url)
    said = [
        {"kind": "purpose_declared"},
        {"kind": "notice_published", "digest": OLD, "purpose": PURPOSE},
        {"kind": "notice_published", "digest": NEW, "purpose": PURPOSE, "replaces": OLD, "change": "editorial"},
        {"kind": "notice_published", "digest": NEW, "purpose": PURPOSE, "replaces": OLD, "change": "material"},
    ]
    with database.engine.begin() as connection:
        upgrade_to(connection, "0012")
        for index, one in enumerate(said):
            payload = json.dumps(one).encode()
            insert(connection, "log_entries", log_index=index, entry=b"e", salt=b"s" * 16, payload=payload)
        insert(connection, "purposes", purpose=PURPOSE, body=b"{}", log_index=0)
        for digest, replaced_by, index in ((OLD, NEW, 1), (NEW, None, 2)):
            notice = {"digest": digest, "purpose": PURPOSE, "language": "en", "text": "May we?"}
            insert(connection, "notices", **notice, replaced_by=replaced_by, log_index=index)
    yield database
    database.close()


def test_an_upgrade_finds_when_notices_were_replaced(earlier: Database) -> None:
    earlier.migrate()
    with earlier.reading() as session:
        rows = session.execute(select(NoticeRow.digest, NoticeRow.replaced_index))
        assert dict(rows.tuples().all()) == {OLD: 3, NEW: None}
