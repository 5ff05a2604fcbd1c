"""What Prometheus is told, and that neither it nor a log line tells of anybody."""

import hashlib
import json
import logging
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.types import Message, Receive, Scope, Send

from consent.contract import Act, DecisionQuery
from consent.credentials import ApiKeyRequest
from consent.errors import ForbiddenError
from consent.service.boundary import STREAM, Boundary
from consent.wire import Role

ANN = hashlib.sha256(b"ann").hexdigest()
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
Figures = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def read(world: Any) -> tuple[str, Figures]:
    token = world.settings.data_dir / "operator.token"
    headers = {"Authorization": f"Bearer {token.read_text().strip()}"}
    response: httpx.Response = world.http.get("/metrics", headers=headers)
    assert response.status_code == 200
    samples = [one for family in text_string_to_metric_families(response.text) for one in family.samples]
    return response.text, {(one.name, tuple(sorted(one.labels.items()))): one.value for one in samples}


def labelled(**labels: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(labels.items()))


def test_requests_are_counted_by_template_and_status(consent_world: Any) -> None:
    acme = consent_world.brand("acme")
    acme.coverage("acme")
    before = read(consent_world)[1]
    acme.coverage("acme")
    acme.decide([DecisionQuery(brand="acme", subject=ANN, purpose="conversion")])
    consent_world.http.get("/v1/brands/acme/coverage")
    after = read(consent_world)[1]

    def grown(name: str, **labels: str) -> float:
        key = name, labelled(**labels)
        return after[key] - before.get(key, 0)

    route = "/v1/brands/{brand}/coverage"
    assert grown("confide_requests_total", method="GET", route=route, status="200") == 1
    assert grown("confide_requests_total", method="GET", route=route, status="401") == 1
    assert grown("confide_request_seconds_count", method="GET", route=route) == 2
    assert grown("confide_requests_total", method="POST", route="/v1/decisions", status="200") == 1


def test_the_log_and_its_commits_are_measured(consent_world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    before = read(consent_world)[1]
    consent_world.record("acme", Act.WITHDRAW, ANN)
    after = read(consent_world)[1]
    assert after["confide_log_entries", ()] == before["confide_log_entries", ()] + 2
    assert after["confide_log_unpublished_entries", ()] == 0
    assert 0 <= after["confide_log_head_age_seconds", ()] < 600
    assert after["confide_commit_members_count", ()] == before["confide_commit_members_count", ()] + 2
    monkeypatch.setattr(consent_world.app.state.workplace._publishing, "appended", lambda: None)
    consent_world.record("acme", Act.WITHDRAW, ANN)
    assert read(consent_world)[1]["confide_log_unpublished_entries", ()] == 1


def test_no_figure_and_no_line_names_a_brand_or_a_customer(
    consent_world: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="confide.consent")
    acme = consent_world.brand("acme")
    acme.coverage("acme")
    acme.decide([DecisionQuery(brand="acme", subject=ANN, purpose="conversion")])
    consent_world.http.get(f"/{ANN}?who={ANN}")
    consent_world.http.request(ANN.upper(), "/v1/choices")
    consent_world.http.request(ANN.upper(), f"/{ANN}")
    figures = read(consent_world)[0].lower()
    lines = "\n".join(record.getMessage() for record in caplog.records if record.name == "confide.consent").lower()
    for canary in (ANN, "acme", "conversion"):
        assert canary not in figures
        assert canary not in lines
    assert '"method": "other"' in lines
    assert 'method="other"' in figures


def test_a_trace_is_followed_by_its_identifier_alone(consent_world: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="confide.consent")
    sent = [
        f"00-{TRACE}-00f067aa0ba902b7-01",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{TRACE}-00f067aa0ba902b7-01-{ANN}",
        ANN,
        "",
    ]
    for value in sent:
        consent_world.http.get("/healthz", headers={"traceparent": value, "tracestate": ANN, "baggage": ANN})
    lines = [json.loads(record.getMessage()) for record in caplog.records if record.name == "confide.consent"]
    assert [line.get("trace") for line in lines[-len(sent) :]] == [TRACE, None, None, None, None]
    assert ANN not in caplog.text


def test_only_who_runs_the_service_reads_figures(consent_world: Any) -> None:
    assert consent_world.http.get("/metrics").status_code == 401
    consent_world.enrol(Role.OFFICER, "officer")
    headers = {"Authorization": f"Bearer {consent_world.tokens['officer']}"}
    assert consent_world.http.get("/metrics", headers=headers).status_code == 403


@dataclass
class Ticks:
    """A clock that an answer moves."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("kind", "seconds"),
    [("text/event-stream; charset=utf-8", 2), ("application/json", 62)],
    ids=["stream", "json"],
)
def test_a_streams_life_is_no_time_to_answer(kind: str, seconds: float) -> None:
    ticks = Ticks()
    told: list[tuple[str, str, int | None, float]] = []

    async def answering(_scope: Scope, _receive: Receive, send: Send) -> None:
        ticks.now += 2
        headers = [(b"content-length", b"1"), (b"content-type", kind.encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for _ in range(60):
            ticks.now += 1
            await send({"type": "http.response.body", "body": b".", "more_body": True})

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def ignore(_: Message) -> None:
        pass

    app = Boundary(
        answering, max_body_bytes=1, streamed={}, answered=lambda *seen: told.append(seen), seconds=ticks
    )
    scope = {"type": "http", "method": "GET", "path": "/v1/events", "headers": []}
    anyio.run(app, scope, receive, ignore)
    assert told == [("GET", "unmatched", 200, seconds)]


def test_a_stream_that_is_read_is_counted_and_not_timed(consent_world: Any) -> None:
    consent_world.brand("acme")
    consent_world.app.state.streams.seconds = 0.0
    headers = {"Authorization": f"Bearer {consent_world.tokens['acme']}", "Last-Event-ID": "0"}
    response = consent_world.http.get("/v1/events", headers=headers)
    assert response.headers["content-type"].encode().startswith(STREAM)
    figures = read(consent_world)[1]
    assert figures["confide_requests_total", labelled(method="GET", route="/v1/events", status="200")] == 1


def test_a_scraper_holds_a_key_that_reads_figures_and_does_nothing_else(consent_world: Any) -> None:
    made = consent_world.operator.create_api_key(ApiKeyRequest(label="scraper", scopes=("get:metrics",), days=30))
    headers = {"Authorization": f"Bearer {made.key}"}
    assert consent_world.http.get("/metrics", headers=headers).status_code == 200
    enrolment = {"role": "officer", "name": "mallory"}
    for path, body in (("/v1/principals", enrolment), ("/v1/api-keys", {"label": "a", "scopes": [], "days": 1})):
        assert consent_world.http.post(path, json=body, headers=headers).status_code == 403
    with pytest.raises(ForbiddenError):
        consent_world.officer.create_api_key(ApiKeyRequest(label="a", scopes=("get:metrics",), days=30))


COUNTING = """
import sys
from consent.service.metrics import Metrics
metrics = Metrics()
metrics.answered("GET", "/healthz", 200, 0.01)
"""


def test_the_processes_of_a_service_add_up(
    consent_world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "figures"
    folder.mkdir()
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)}
    for _ in range(2):
        subprocess.run([sys.executable, "-c", COUNTING], env=environment, check=True)
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(folder))
    figures = read(consent_world)[1]
    assert figures["confide_requests_total", labelled(method="GET", route="/healthz", status="200")] == 2
    assert ("confide_log_entries", ()) in figures
