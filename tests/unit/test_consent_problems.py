"""Refusals and faults as problem details (RFC 9457), and as errors at the client's end."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from sqlalchemy.exc import OperationalError

from consent import errors
from consent.client import ERRORS, ConsentClient
from consent.contract import DecisionQuery, Notice
from consent.problem import MEDIA_TYPE, TYPE_PREFIX, Problem
from consent.service import problems

ANN = hashlib.sha256(b"ann").hexdigest()
Ask = Callable[..., httpx.Response]


@pytest.fixture
def ask(consent_world: Any) -> Ask:
    """A function that sends a request as a brand."""
    consent_world.brand("acme")

    def send(method: str, path: str, **arguments: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {consent_world.tokens['acme']}", **arguments.pop("headers", {})}
        response: httpx.Response = consent_world.http.request(method, path, headers=headers, **arguments)
        return response

    return send


REFUSALS: dict[str, tuple[int, str, dict[str, Any]]] = {
    "no such customer's brand": (404, "not_found", {"method": "GET", "path": "/v1/brands/other/coverage"}),
    "no such resource": (404, "not_found", {"method": "GET", "path": "/v1/nothing"}),
    "another method": (405, "method_not_allowed", {"method": "PUT", "path": "/v1/choices"}),
    "another role's": (403, "forbidden", {"method": "POST", "path": "/v1/tasks", "json": {}}),
    "no token": (
        401,
        "unauthenticated",
        {"method": "POST", "path": "/v1/choices", "json": {}, "headers": {"Authorization": ""}},
    ),
    "another shape": (422, "invalid_request", {"method": "POST", "path": "/v1/choices", "json": {"choices": 1}}),
    "not JSON": (
        422,
        "invalid_request",
        {
            "method": "POST",
            "path": "/v1/choices",
            "content": b"{",
            "headers": {"Content-Type": "application/json"},
        },
    ),
    "not text": (
        422,
        "invalid_request",
        {
            "method": "POST",
            "path": "/v1/choices",
            "content": b'"\xff\xfe"',
            "headers": {"Content-Type": "application/json"},
        },
    ),
    "nested without end": (
        422,
        "invalid_request",
        {
            "method": "POST",
            "path": "/v1/choices",
            "content": b"[" * 200_000,
            "headers": {"Content-Type": "application/json"},
        },
    ),
    "another type": (
        415,
        "unsupported_media",
        {"method": "POST", "path": "/v1/choices", "content": b"a,b", "headers": {"Content-Type": "text/csv"}},
    ),
    "no type": (415, "unsupported_media", {"method": "POST", "path": "/v1/choices", "content": b"{}"}),
    "no body": (422, "invalid_request", {"method": "POST", "path": "/v1/choices"}),
}


@pytest.mark.parametrize(("status", "code", "request_of"), REFUSALS.values(), ids=list(REFUSALS))
def test_a_refusal_is_a_problem_document(ask: Ask, status: int, code: str, request_of: dict[str, Any]) -> None:
    response = ask(**request_of)
    assert (response.status_code, response.headers["content-type"]) == (status, MEDIA_TYPE)
    problem = Problem.model_validate(response.json(), extra="forbid")
    assert (problem.status, problem.code, problem.type) == (status, code, TYPE_PREFIX + code)
    assert problem.detail.endswith(".")
    if status == 405:
        assert response.headers["allow"] == "POST"
    if status == 401:
        assert response.headers["www-authenticate"] == "Bearer"


def test_a_body_over_the_cap_is_a_problem(consent_worlds: Any) -> None:
    response = consent_worlds(max_body_bytes=2_000).http.post("/v1/choices", content=b"x" * 2_001)
    assert (response.status_code, response.json()["code"]) == (413, "too_large")
    assert response.headers["content-type"] == MEDIA_TYPE


OUTAGES: dict[str, tuple[int, type[errors.ConsentError], Exception]] = {
    "the database is away": (503, errors.UnavailableError, OperationalError(f"row of {ANN}", None, OSError(ANN))),
    "a shared commit failed": (503, errors.UnavailableError, errors.UnavailableError("Repeat the request.")),
    "somebody holds it": (503, errors.BusyError, errors.BusyError("Come back.", retry_after=7)),
    "too many requests": (429, errors.RateLimitedError, errors.RateLimitedError("Come back.", retry_after=7)),
    "a fault": (500, errors.UnavailableError, RuntimeError(ANN)),
}


@pytest.mark.parametrize(("status", "kind", "raised"), OUTAGES.values(), ids=list(OUTAGES))
def test_an_outage_says_when_to_come_back_and_reaches_the_caller_as_itself(
    consent_world: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    status: int,
    kind: type[errors.ConsentError],
    raised: Exception,
) -> None:
    def fail(*_: object) -> None:
        raise raised

    client: ConsentClient = consent_world.brand("acme")
    monkeypatch.setattr("consent.service.questions.decide", fail)
    query = DecisionQuery(brand="acme", subject=ANN, purpose="conversion")
    with pytest.raises(kind) as caught:
        client.decide([query])
    assert type(caught.value) is kind
    seconds = getattr(raised, "retry_after", None)
    assert getattr(caught.value, "retry_after", None) == seconds
    headers = {"Authorization": f"Bearer {consent_world.tokens['acme']}"}
    body = {"queries": [json.loads(query.model_dump_json())]}
    response = consent_world.http.post("/v1/decisions", json=body, headers=headers)
    assert (response.status_code, response.headers["content-type"]) == (status, MEDIA_TYPE)
    assert response.headers.get("retry-after") == (None if status == 500 else str(seconds or 1))
    assert ANN not in response.text + caplog.text


def test_every_error_has_a_code_of_its_own_and_a_title() -> None:
    assert len(ERRORS) == len({Problem.of(code, "", 400).type for code in ERRORS})
    assert Problem.of("unknown_purpose", "", 404).title == "Unknown purpose"
    assert {kind for kind, _ in problems.STATUS} <= set(ERRORS.values())


def test_a_text_that_postgresql_does_not_store_is_refused(
    consent_worlds: Any, postgres_url: Callable[[], str]
) -> None:
    world = consent_worlds(database_url=postgres_url())
    world.declare("conversion")
    before = world.operator.checkpoint()
    with pytest.raises(errors.InvalidRequestError):
        world.operator.publish_notice(Notice(purpose="conversion", language="en", text="May\x00we?"))
    assert world.operator.checkpoint() == before
    assert world.operator.publish_notice(Notice(purpose="conversion", language="en", text="May we use it?"))
