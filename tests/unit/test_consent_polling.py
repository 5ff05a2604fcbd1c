"""What is polled is answered 304 while it is the same, and long lists come a page at a time."""

import hashlib
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from consent.contract import Act, Notice
from consent.wire import Role

ANN, BEN = (hashlib.sha256(name.encode()).hexdigest() for name in ("ann", "ben"))
PURPOSE = "conversion"
Get = Callable[..., httpx.Response]


@pytest.fixture
def get(consent_world: Any) -> Get:
    """A function that reads a resource as somebody, with headers."""
    consent_world.brand("acme")

    def ask(path: str, *, who: str = "acme", tag: str | None = None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {consent_world.tokens[who]}"}
        if tag is not None:
            headers["If-None-Match"] = tag
        response: httpx.Response = consent_world.http.get(path, headers=headers)
        return response

    return ask


def change_mind(world: Any) -> None:
    world.record("acme", Act.WITHDRAW, BEN)
    world.coordinator.seal_snapshots(PURPOSE, ["acme"])


def declare(world: Any) -> None:
    world.declare("upsell")


def publish(world: Any) -> None:
    world.operator.publish_notice(Notice(purpose=PURPOSE, language="de", text="Dürfen wir?"))


POLLED: dict[str, Callable[[Any], None]] = {
    "/v1/snapshots/current?purpose=conversion": change_mind,
    "/v1/snapshots/current/head?purpose=conversion": change_mind,
    "/v1/brands/acme/coverage": change_mind,
    "/v1/brands/acme/budgets": lambda _: None,
    "/v1/purposes": declare,
    "/v1/notices?purpose=conversion": publish,
}


@pytest.mark.parametrize("path", POLLED)
def test_who_has_the_present_answer_is_told_so_and_no_more(consent_world: Any, get: Get, path: str) -> None:
    consent_world.record("acme", Act.GRANT, ANN, BEN)
    consent_world.coordinator.seal_snapshots(PURPOSE, ["acme"])
    first = get(path)
    tag = first.headers["etag"]
    assert (first.status_code, get(path).headers["etag"]) == (200, tag)
    for named in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = get(path, tag=named)
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    for named in ('"other"', tag.strip('"'), ""):
        assert get(path, tag=named).content == first.content
    change = POLLED[path]
    change(consent_world)
    assert (get(path, tag=tag).status_code == 304) == (path == "/v1/brands/acme/budgets")
    assert first.headers["cache-control"] == "private, no-cache"


def test_a_snapshot_that_no_longer_holds_is_no_304(consent_world: Any, get: Get) -> None:
    consent_world.record("acme", Act.GRANT, ANN)
    consent_world.coordinator.seal_snapshots(PURPOSE, ["acme"])
    path = "/v1/snapshots/current?purpose=conversion"
    tag = get(path).headers["etag"]
    consent_world.record("acme", Act.WITHDRAW, ANN)
    assert (get(path, tag=tag).status_code, get(path, tag="*").status_code) == (409, 409)


def test_a_poll_gives_what_a_request_gives(consent_world: Any, get: Get) -> None:
    consent_world.record("acme", Act.GRANT, ANN)
    consent_world.coordinator.seal_snapshots(PURPOSE, ["acme"])
    view = consent_world.brand("acme").current_snapshot(PURPOSE)
    assert get("/v1/snapshots/current?purpose=conversion").text == view.model_dump_json()
    assert get("/v1/snapshots/current/head?purpose=conversion").text == view.head.model_dump_json()


def test_another_brands_snapshot_is_not_there(consent_world: Any, get: Get) -> None:
    consent_world.record("acme", Act.GRANT, ANN)
    consent_world.coordinator.seal_snapshots(PURPOSE, ["acme"])
    consent_world.brand("spy")
    assert get("/v1/snapshots/current?purpose=conversion", who="spy", tag="*").status_code == 404


def pages(get: Get, path: str, name: str, limit: int) -> list[Any]:
    found, cursor = [], None
    while True:
        page = get(f"{path}limit={limit}" + (f"&after={cursor}" if cursor else "")).json()
        assert len(page[name]) <= limit
        found += page[name]
        cursor = page["cursor"]
        if cursor is None:
            return found


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 100])
def test_pages_together_are_the_list(consent_world: Any, get: Get, limit: int) -> None:
    for number in range(2):
        consent_world.declare(f"purpose-{number}")
    for number in range(3):
        consent_world.operator.publish_notice(Notice(purpose=PURPOSE, language="en", text=f"May we, {number}?"))
    purposes = pages(get, "/v1/purposes?", "purposes", limit)
    assert [one["purpose"] for one in purposes] == ["churn", PURPOSE, "purpose-0", "purpose-1"]
    notices = [one["notice"] for one in pages(get, "/v1/notices?purpose=conversion&", "notices", limit)]
    assert (len(notices), notices) == (4, sorted(set(notices)))


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "after=UPPER", "after=x'--"])
def test_a_page_has_bounds(get: Get, query: str) -> None:
    assert get(f"/v1/purposes?{query}").status_code == 422


def test_a_text_is_found_by_its_hash(consent_world: Any, get: Get) -> None:
    text = "May we use your data?"
    for purpose in (PURPOSE, "churn"):
        consent_world.operator.publish_notice(Notice(purpose=purpose, language="en", text=text))
    digest = hashlib.sha256(text.encode()).hexdigest()
    found = get(f"/v1/notices/{digest}").json()
    assert found["text"] == text
    assert [one["purpose"] for one in found["published"]] == ["churn", PURPOSE]
    assert get(f"/v1/notices/{ANN}").status_code == 404
    consent_world.enrol(Role.AUDITOR, "auditor")
    assert get(f"/v1/notices/{digest}", who="auditor").status_code == 200
