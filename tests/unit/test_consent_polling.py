"""What is polled is answered 304 while it is the same, and long lists come a page at a time."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from rights_desk import hold_round

from consent.client import ConsentClient
from consent.contract import Act, Notice
from consent.wire import Participation, ParticipationPage, Role, RunPage

ANN, BEN = (hashlib.sha256(name.encode()).hexdigest() for name in ("ann", "ben"))
PURPOSE = "conversion"
RUN = "run"
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


@pytest.fixture
def held(consent_world: Any) -> Any:
    """A world with three rounds, of which two are released."""
    consent_world.record("acme", Act.GRANT, ANN, BEN)
    for number in range(3):
        hold_round(consent_world, number, release=number < 2)
    return consent_world


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 100])
def test_pages_of_a_run_together_are_its_record(held: Any, get: Get, limit: int) -> None:
    whole = held.officer.run(RUN)
    assert (len(whole.manifests), len(whole.releases)) == (3, 2)
    found, after = [], ""
    while True:
        page = RunPage.model_validate(get(f"/v1/runs/{RUN}?limit={limit}{after}", who="officer").json())
        assert len(page.manifests) + len(page.releases) <= limit
        found.append(page)
        if page.cursor is None:
            break
        after = f"&after={page.cursor}"
    assert tuple(one for page in found for one in page.manifests) == whole.manifests
    assert tuple(one for page in found for one in page.releases) == whole.releases
    assert len(found) == -(-5 // limit)


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_pages_of_a_customers_rounds_together_are_all_of_them(held: Any, limit: int) -> None:
    whole = held.officer.participation("acme", ANN)
    assert [(one.round, one.released) for one in whole] == [(0, True), (1, True), (2, False)]
    headers = {"Authorization": f"Bearer {held.tokens['officer']}"}
    found: list[Participation] = []
    body = {"brand": "acme", "subject": ANN, "limit": limit}
    pages = 0
    while True:
        answer = held.http.post("/v1/subjects/participation", json=body, headers=headers)
        page = ParticipationPage.model_validate(answer.json())
        assert len(page.rounds) <= limit
        found, pages = [*found, *page.rounds], pages + 1
        if page.cursor is None:
            break
        body["after"] = page.cursor
    assert tuple(found) == whole
    assert pages == -(-3 // limit)
    assert found[-1].epsilon_so_far > found[0].epsilon_so_far


class ShortPages(httpx.BaseTransport):
    """Asks for two items where a client asks for a page."""

    def __init__(self, inner: httpx.BaseTransport) -> None:
        self.inner = inner
        self.pages = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        headers = {"Authorization": request.headers["authorization"]}
        if request.method == "GET":
            short = httpx.Request("GET", request.url.copy_merge_params({"limit": "2"}), headers=headers)
        else:
            body = {**json.loads(request.read()), "limit": 2}
            short = httpx.Request("POST", request.url, json=body, headers=headers)
        self.pages += 1
        return self.inner.handle_request(short)


def test_a_client_reads_all_pages(held: Any) -> None:
    short = ShortPages(held.http._transport)
    with httpx.Client(transport=short, base_url="http://consent") as http:
        client = ConsentClient(http, held.tokens["officer"])
        assert client.run(RUN) == held.officer.run(RUN)
        assert short.pages == 3
        assert client.participation("acme", ANN) == held.officer.participation("acme", ANN)
        assert short.pages == 5


def test_another_coordinators_run_is_not_there_on_any_page(held: Any, get: Get) -> None:
    held.enrol(Role.COORDINATOR, "other")
    for query in ("", "?after=0", f"?after={2**53}"):
        assert get(f"/v1/runs/{RUN}{query}", who="other").status_code == 404
    assert get(f"/v1/runs/{RUN}?after={2**53}", who="coordinator").json() == {
        "manifests": [],
        "releases": [],
        "setup": None,
        "closings": [],
        "abandonments": [],
        "cursor": None,
    }
    for query in ("limit=0", "limit=101", "after=-1", f"after={2**63}"):
        assert get(f"/v1/runs/{RUN}?{query}", who="coordinator").status_code == 422


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
