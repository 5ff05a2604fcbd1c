"""Searching the log: who finds what, page by page, and that looking leaves a trace."""

import base64
import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from log_looks import everything, look
from pydantic import ValidationError
from rights_desk import request

from consent.contract import Act
from consent.errors import ForbiddenError, InvalidRequestError, NotFoundError
from consent.rights import RequestKind
from consent.searching import LogHit, LogQuery
from consent.service import search as searching
from consent.service.rights import VALID_FOR

ANN, BEN, EVE = (hashlib.sha256(name.encode()).hexdigest() for name in ("ann", "ben", "eve"))
OTHER_PURPOSE = "churn"
CLOSED = {"kind", "recorded_at", "brand"}


def acts(hits: list[LogHit]) -> list[str]:
    return [hit.payload["act"] for hit in hits if hit.payload["kind"] == "choice_recorded"]


def choices(hits: list[LogHit]) -> int:
    return sum(hit.payload["kind"] == "choice_recorded" for hit in hits)


@pytest.fixture
def world(consent_world: Any) -> Any:
    consent_world.record("acme", Act.GRANT, ANN, BEN)
    consent_world.record("bolt", Act.GRANT, ANN, purpose=OTHER_PURPOSE)
    consent_world.record("acme", Act.WITHDRAW, ANN)
    return consent_world


@pytest.fixture
def stored_world(consent_worlds: Callable[..., Any], database_url: str) -> Any:
    """A world on each kind of database."""
    world = consent_worlds(database_url=database_url)
    for purpose in ("conversion", OTHER_PURPOSE):
        world.declare(purpose)
    world.record("acme", Act.GRANT, ANN, BEN)
    world.record("bolt", Act.GRANT, ANN)
    world.record("acme", Act.WITHDRAW, ANN)
    return world


def test_an_officer_finds_the_history_of_one_customer_of_one_brand(world: Any) -> None:
    hits = everything(world.officer, **look(world, ANN))
    assert acts(hits) == ["grant", "withdraw"]
    assert {hit.payload["brand"] for hit in hits} == {"acme"}
    assert [hit.log_index for hit in hits] == sorted(hit.log_index for hit in hits)
    assert not any(hit.closed for hit in hits)


def test_row_27_one_officer_alone_opens_no_customers_entry(stored_world: Any) -> None:
    """Whatever they ask by: of entries about customers they learn kind, time, brand and place."""
    world = stored_world
    searches: list[dict[str, Any]] = [{}, {"brand": "acme"}, {"kind": "choice_recorded"}]
    searches.append({"since": world.clock.now - timedelta(hours=1), "limit": 2})
    for wanted in searches:
        hits = everything(world.officer, **wanted)
        about_customers = [hit for hit in hits if hit.closed]
        assert choices(about_customers) == choices(hits) > 0
        assert {frozenset(hit.payload) for hit in about_customers} == {frozenset(CLOSED)}
        for canary in (ANN, BEN, "grant", "withdraw", "conversion"):
            assert canary not in str([hit.payload for hit in about_customers])
    with pytest.raises(ForbiddenError, match="somebody else approved"):
        world.officer.search_log(LogQuery(brand="acme", subject=ANN))


def test_row_27_a_look_rests_on_a_request_of_this_officer_about_this_customer_that_another_officer_approved(
    stored_world: Any,
) -> None:
    world, officer, second = stored_world, stored_world.officer, stored_world.second_officer
    about_ann = {"brand": "acme", "subject": ANN}
    asked = {
        "pending": officer.ask_right(request(ANN, RequestKind.ACCESS)),
        "rejected": officer.ask_right(request(ANN, RequestKind.ACCESS)),
        "by a brand": officer.ask_right(request(ANN, RequestKind.ACCESS)),
        "of another officer": second.ask_right(request(ANN, RequestKind.ACCESS)),
        "about somebody else": officer.ask_right(request(BEN, RequestKind.ACCESS)),
        "at another brand": officer.ask_right(request(ANN, RequestKind.ACCESS, "bolt")),
    }
    second.reject_request(asked["rejected"].request_id)
    world.brand_admin("acme").approve_request(asked["by a brand"].request_id)
    officer.approve_request(asked["of another officer"].request_id)
    for name in ("about somebody else", "at another brand"):
        second.approve_request(asked[name].request_id)
    for request_id in [*(view.request_id for view in asked.values()), "0" * 32]:
        with pytest.raises(ForbiddenError):
            officer.search_log(LogQuery(**about_ann, request_id=request_id))
    approved = look(world, ANN)
    assert acts(everything(officer, **approved)) == ["grant", "withdraw"]
    with pytest.raises(ForbiddenError):
        second.search_log(LogQuery(**approved))
    world.clock.advance(VALID_FOR.total_seconds())
    with pytest.raises(ForbiddenError):
        officer.search_log(LogQuery(**approved))


def test_an_approved_look_ends_with_the_customers_erasure(stored_world: Any) -> None:
    approved = look(stored_world, ANN)
    stored_world.erase("acme", ANN)
    with pytest.raises(ForbiddenError):
        stored_world.officer.search_log(LogQuery(**approved))


def test_row_27_a_brand_opens_its_customers_entries_one_named_customer_at_a_time(stored_world: Any) -> None:
    """So that each of them finds the look in their own history."""
    acme = stored_world.brand("acme")
    assert not any(hit.closed for hit in everything(acme, subject=ANN))
    assert acts(everything(acme, subject=ANN)) == ["grant", "withdraw"]
    hits = everything(acme)
    assert choices(hits) == 3
    assert {frozenset(hit.payload) for hit in hits if hit.closed} == {frozenset(CLOSED)}
    assert not any(name in str([hit.payload for hit in hits]) for name in (ANN, BEN))
    looks = [hit for hit in everything(acme, subject=ANN) if hit.payload["kind"] == "log_searched"]
    assert [hit.payload["reader"] for hit in looks] == ["brand"] * 2


@pytest.mark.parametrize("limit", [1, 2, 3, 500])
def test_pages_hold_everything_once_and_in_order(world: Any, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(searching, "CANDIDATES", 2)
    size = int(world.officer.checkpoint().splitlines()[1])
    hits = everything(world.officer, limit=limit)
    assert [hit.log_index for hit in hits] == list(range(size))


def test_entries_are_found_by_kind_and_by_time(world: Any) -> None:
    approved = look(world, ANN)
    kinds = {hit.payload["kind"] for hit in everything(world.officer)}
    for kind in kinds:
        assert {hit.payload["kind"] for hit in everything(world.officer, kind=kind)} == {kind}
    late = world.clock.now - timedelta(milliseconds=1)
    assert choices(everything(world.officer, since=late)) == 1
    assert choices(everything(world.officer, until=late)) == 3
    assert acts(everything(world.officer, **approved, since=late, kind="choice_recorded")) == ["withdraw"]
    assert acts(everything(world.officer, **approved, until=late)) == ["grant"]


def test_entries_are_found_by_run_and_round(world: Any) -> None:
    assert everything(world.officer, run_id="no-such-run") == []
    assert everything(world.officer, run_id="no-such-run", round=1, kind="round_opened") == []
    with pytest.raises(InvalidRequestError, match="name the run"):
        world.officer.search_log(LogQuery(round=1))


def test_a_brand_finds_nothing_of_another_brand(world: Any) -> None:
    mine = everything(world.brand("acme"))
    assert choices(mine) == 3
    assert "bolt" not in str(mine)
    assert acts(everything(world.brand("bolt"), subject=ANN)) == ["grant"]
    with pytest.raises(NotFoundError, match="no such brand"):
        world.brand("bolt").search_log(LogQuery(brand="acme", subject=ANN))
    with pytest.raises(NotFoundError, match="no such brand"):
        world.brand("bolt").search_log(LogQuery(brand="never-enrolled"))


def test_every_search_is_an_entry_with_what_it_rests_on_under_the_customers_own_key(world: Any) -> None:
    approved = look(world, ANN)
    page = world.officer.search_log(LogQuery(**approved))
    (alone,) = [hit for hit in everything(world.officer, kind="log_searched") if hit.log_index == page.log_index]
    assert alone.closed
    (logged,) = [hit for hit in everything(world.officer, **approved) if hit.log_index == page.log_index]
    assert logged.payload["asked"] == {"brand": "acme", "request_id": approved["request_id"], "limit": 100}
    assert (logged.payload["subject"], logged.payload["reader"]) == (ANN, "officer")
    published = b"".join(path.read_bytes() for path in world.settings.log_dir.rglob("*") if path.is_file())
    assert ANN.encode() not in published


def test_a_customer_who_is_not_known_gets_no_key_and_is_named_nowhere(world: Any) -> None:
    page = world.brand("acme").search_log(LogQuery(brand="acme", subject=EVE))
    assert page.entries == ()
    (logged,) = [hit for hit in everything(world.officer, kind="log_searched") if hit.log_index == page.log_index]
    assert (logged.closed, logged.payload["about_a_customer"]) == (False, True)
    assert EVE not in str(logged)
    assert EVE.encode() not in b"".join(path.read_bytes() for path in world.settings.data_dir.glob("consent.db*"))


def test_a_search_that_is_refused_says_why(world: Any) -> None:
    with pytest.raises(InvalidRequestError, match="name the brand"):
        world.officer.search_log(LogQuery(subject=ANN))
    with pytest.raises(InvalidRequestError, match="name brand and customer"):
        world.officer.search_log(LogQuery(brand="acme", request_id="0" * 32))
    with pytest.raises(InvalidRequestError, match="leave it out"):
        world.brand("acme").search_log(LogQuery(subject=ANN, request_id="0" * 32))
    for wanted in ({"limit": 501}, {"since": datetime(2026, 11, 2)}, {"run_id": "run", "round": 2**31}):  # noqa: DTZ001
        with pytest.raises(ValidationError):
            LogQuery(**wanted)


FORGED = ["", "1", "1.2.3", "-1.2", "2.1", "0.99999999999999", "99999999999999999999.99999999999999999999", "a.b"]


@pytest.mark.parametrize("forged", FORGED)
def test_row_19_a_cursor_that_was_never_given_is_refused(world: Any, forged: str) -> None:
    cursor = base64.urlsafe_b64encode(forged.encode()).decode() or "AAAA"
    with pytest.raises(InvalidRequestError, match="not one of this service"):
        world.officer.search_log(LogQuery(cursor=cursor))


def test_searching_is_the_same_on_both_databases(stored_world: Any) -> None:
    world, approved = stored_world, look(stored_world, ANN)
    assert acts(everything(world.officer, **approved)) == ["grant", "withdraw"]
    assert choices(everything(world.officer, limit=2)) == 4
    assert choices(everything(world.brand("acme"))) == 3
    assert everything(world.brand("acme"), subject=EVE) == []
    assert everything(world.officer, run_id="no-such-run", round=1) == []
    late = world.clock.now - timedelta(milliseconds=1)
    assert choices(everything(world.officer, since=late)) == 1
    assert choices(everything(world.officer, until=late)) == 3
