"""Searching the log: who finds what, page by page, and that looking leaves a trace."""

import base64
import hashlib
from datetime import datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from consent.client import ConsentClient
from consent.contract import Act
from consent.errors import InvalidRequestError, NotFoundError
from consent.searching import LogHit, LogQuery
from consent.service import search as searching

ANN, BEN, EVE = (hashlib.sha256(name.encode()).hexdigest() for name in ("ann", "ben", "eve"))
OTHER_PURPOSE = "churn"


def everything(client: ConsentClient, **wanted: Any) -> list[LogHit]:
    """Return the entries of all pages."""
    found: list[LogHit] = []
    query = LogQuery(**wanted)
    while True:
        page = client.search_log(query)
        assert len(page.entries) <= query.limit
        found += page.entries
        if page.complete:
            return found
        query = query.model_copy(update={"cursor": page.cursor})


def acts(hits: list[LogHit]) -> list[str]:
    return [hit.payload["act"] for hit in hits if hit.payload["kind"] == "choice_recorded"]


@pytest.fixture
def world(consent_world: Any) -> Any:
    consent_world.record("acme", Act.GRANT, ANN, BEN)
    consent_world.record("bolt", Act.GRANT, ANN, purpose=OTHER_PURPOSE)
    consent_world.record("acme", Act.WITHDRAW, ANN)
    return consent_world


def test_an_officer_finds_the_history_of_one_customer_of_one_brand(world: Any) -> None:
    hits = everything(world.officer, brand="acme", subject=ANN)
    assert acts(hits) == ["grant", "withdraw"]
    assert {hit.payload["brand"] for hit in hits} == {"acme"}
    assert [hit.log_index for hit in hits] == sorted(hit.log_index for hit in hits)


@pytest.mark.parametrize("limit", [1, 2, 3, 500])
def test_pages_hold_everything_once_and_in_order(world: Any, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(searching, "CANDIDATES", 2)
    size = int(world.officer.checkpoint().splitlines()[1])
    hits = everything(world.officer, limit=limit)
    assert [hit.log_index for hit in hits] == list(range(size))


def test_entries_are_found_by_kind_and_by_time(world: Any) -> None:
    kinds = {hit.payload["kind"] for hit in everything(world.officer)}
    for kind in kinds:
        assert {hit.payload["kind"] for hit in everything(world.officer, kind=kind)} == {kind}
    late = world.clock.now - timedelta(milliseconds=1)
    assert acts(everything(world.officer, since=late)) == ["withdraw"]
    assert acts(everything(world.officer, until=late)) == ["grant"] * 3
    assert acts(everything(world.officer, brand="acme", since=late, kind="choice_recorded")) == ["withdraw"]


def test_entries_are_found_by_run_and_round(world: Any) -> None:
    assert everything(world.officer, run_id="no-such-run") == []
    assert everything(world.officer, run_id="no-such-run", round=1, kind="round_opened") == []
    with pytest.raises(InvalidRequestError, match="name the run"):
        world.officer.search_log(LogQuery(round=1))


def test_a_brand_finds_nothing_of_another_brand(world: Any) -> None:
    mine = everything(world.brand("acme"))
    assert acts(mine) == ["grant", "grant", "withdraw"]
    assert "bolt" not in str(mine)
    assert acts(everything(world.brand("bolt"), subject=ANN)) == ["grant"]
    with pytest.raises(NotFoundError, match="no such brand"):
        world.brand("bolt").search_log(LogQuery(brand="acme", subject=ANN))
    with pytest.raises(NotFoundError, match="no such brand"):
        world.brand("bolt").search_log(LogQuery(brand="never-enrolled"))


def test_every_search_is_an_entry_and_a_known_customer_is_under_their_own_key(world: Any) -> None:
    page = world.officer.search_log(LogQuery(brand="acme", subject=ANN))
    (logged,) = [hit for hit in everything(world.officer, kind="log_searched") if hit.log_index == page.log_index]
    assert logged.payload["asked"] == {"brand": "acme", "limit": 100}
    assert (logged.payload["subject"], logged.payload["reader"]) == (ANN, "officer")
    assert page.log_index in {hit.log_index for hit in everything(world.officer, brand="acme", subject=ANN)}
    published = b"".join(path.read_bytes() for path in world.settings.log_dir.rglob("*") if path.is_file())
    assert ANN.encode() not in published


def test_a_customer_who_is_not_known_gets_no_key_and_is_named_nowhere(world: Any) -> None:
    page = world.officer.search_log(LogQuery(brand="acme", subject=EVE))
    assert page.entries == ()
    (logged,) = [hit for hit in everything(world.officer, kind="log_searched") if hit.log_index == page.log_index]
    assert logged.payload["about_a_customer"] is True
    assert EVE not in str(logged)
    assert EVE.encode() not in b"".join(path.read_bytes() for path in world.settings.data_dir.glob("consent.db*"))


def test_a_search_that_is_refused_says_why(world: Any) -> None:
    with pytest.raises(InvalidRequestError, match="name the brand"):
        world.officer.search_log(LogQuery(subject=ANN))
    for wanted in ({"limit": 501}, {"since": datetime(2026, 11, 2)}, {"run_id": "run", "round": 2**31}):  # noqa: DTZ001
        with pytest.raises(ValidationError):
            LogQuery(**wanted)


FORGED = ["", "1", "1.2.3", "-1.2", "2.1", "0.99999999999999", "99999999999999999999.99999999999999999999", "a.b"]


@pytest.mark.parametrize("forged", FORGED)
def test_row_19_a_cursor_that_was_never_given_is_refused(world: Any, forged: str) -> None:
    cursor = base64.urlsafe_b64encode(forged.encode()).decode() or "AAAA"
    with pytest.raises(InvalidRequestError, match="not one of this service"):
        world.officer.search_log(LogQuery(cursor=cursor))


def test_searching_is_the_same_on_postgresql(consent_worlds: Any, postgres_url: Any) -> None:
    world = consent_worlds(database_url=postgres_url())
    for purpose in ("conversion", OTHER_PURPOSE):
        world.declare(purpose)
    world.record("acme", Act.GRANT, ANN, BEN)
    world.record("bolt", Act.GRANT, ANN)
    world.record("acme", Act.WITHDRAW, ANN)
    assert acts(everything(world.officer, brand="acme", subject=ANN)) == ["grant", "withdraw"]
    assert acts(everything(world.officer, limit=2)) == ["grant"] * 3 + ["withdraw"]
    assert acts(everything(world.brand("acme"))) == ["grant", "grant", "withdraw"]
    assert everything(world.officer, brand="acme", subject=EVE) == []
    assert everything(world.officer, run_id="no-such-run", round=1) == []
    late = world.clock.now - timedelta(milliseconds=1)
    assert acts(everything(world.officer, since=late)) == ["withdraw"]
    assert acts(everything(world.officer, until=late)) == ["grant"] * 3
