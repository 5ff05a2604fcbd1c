"""A real service under load is told to end, or killed: what it acknowledged is there, once."""

import http.client
import json
import os
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from consent_process import CLIENTS, END_SECONDS, Load, Service, batch, pseudonym, service, until
from sqlalchemy import select

from consent.client import ConsentClient
from consent.log.verify import verify_folder
from consent.service import create_app
from consent.service.work import Workplace
from consent.store.schema import ChoiceRow

pytestmark = pytest.mark.slow


@pytest.fixture
def running(tmp_path: Path, database_url: str) -> Iterator[Service]:
    with service(tmp_path, database_url) as found:
        found.start()
        yield found


def check(service: Service, *loads: Load) -> None:
    """Start again on what lies there, and find everything that was acknowledged where it was said to be, once."""
    kept = service.settings.data_dir / "kept"
    kept.write_bytes((service.settings.log_dir / "checkpoint").read_bytes())
    work: Workplace = create_app(service.settings).state.workplace
    with closing(work):
        with work.reading() as unit:
            rows = unit.session.execute(select(ChoiceRow.subject, ChoiceRow.log_index)).all()
            size = unit.log_size()
        found: dict[str, list[int]] = {}
        for subject, index in rows:
            found.setdefault(subject, []).append(index)
        for load in loads:
            assert load.acknowledged
            for key, indices in load.acknowledged.items():
                assert sorted(found[pseudonym(key)]) == list(indices)
            assert all(len(found.get(pseudonym(key), batch(key))) == len(batch(key)) for key in load.tried)
        report = verify_folder(service.settings.log_dir, since=kept)
        assert (report.findings, report.size) == ([], size)


def test_row_22_a_service_that_is_told_to_end_answers_what_was_asked_and_ends_well(running: Service) -> None:
    load = Load(running, "load")
    load.start()
    load.hear(20)
    started = half_a_request(running)
    assert running.process is not None
    running.process.terminate()
    until(running.refuses, seconds=END_SECONDS)
    status, answer = other_half(started)
    assert (status, len(answer["log_indices"])) == (200, len(batch("open")))
    assert running.process.wait(END_SECONDS) == 0
    load.join()
    check(running, load)


def half_a_request(running: Service) -> tuple[http.client.HTTPConnection, bytes]:
    """Send a request up to the middle of its body, once the service has said that it is reading it."""
    choices = [choice.model_dump(mode="json") for choice in batch("open")]
    body = json.dumps({"idempotency_key": "open", "choices": choices}).encode()
    connection = http.client.HTTPConnection("127.0.0.1", running.settings.port, timeout=END_SECONDS)
    connection.putrequest("POST", "/v1/choices")
    for name, value in (
        ("Authorization", f"Bearer {running.token}"),
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        ("Expect", "100-continue"),
    ):
        connection.putheader(name, value)
    connection.endheaders()
    assert connection.sock is not None
    assert connection.sock.recv(1_000).startswith(b"HTTP/1.1 100 ")
    connection.send(body[: len(body) // 2])
    return connection, body[len(body) // 2 :]


def other_half(started: tuple[http.client.HTTPConnection, bytes]) -> tuple[int, Any]:
    """Send the rest, and return status and answer."""
    connection, rest = started
    with closing(connection):
        connection.send(rest)
        response = connection.getresponse()
        return response.status, json.loads(response.read())


def test_row_22_a_service_that_is_killed_lost_nothing_that_it_acknowledged(running: Service) -> None:
    """Three times; what was not acknowledged may be sent again, and is then there once."""
    loads = []
    for round_number, more in enumerate((5, 40, 80)):
        load = Load(running, f"load-{round_number}")
        load.start()
        load.hear(more)
        running.kill()
        load.join()
        loads.append(load)
        check(running, *loads)
        running.start()
        repeat(running, load)
    assert running.end() == 0
    check(running, *loads)


def repeat(running: Service, load: Load) -> None:
    """Send again everything that was tried; what was acknowledged is answered as it was."""
    unsure = load.tried - load.acknowledged.keys()
    assert len(unsure) == CLIENTS
    with httpx.Client(base_url=running.url, trust_env=False, timeout=END_SECONDS) as connection:
        client = ConsentClient(connection, running.token)
        for key, indices in list(load.acknowledged.items())[-3:]:
            assert client.record(batch(key), idempotency_key=key) == indices
        for key in unsure:
            load.acknowledged[key] = client.record(batch(key), idempotency_key=key)


@pytest.fixture
def workers(tmp_path: Path, postgres_url: object) -> Iterator[Service]:
    assert callable(postgres_url)
    with service(tmp_path, postgres_url()) as found:
        found.start("--workers", "2")
        yield found


def test_two_processes_serve_one_log_and_end_well(workers: Service) -> None:
    load = Load(workers, "load")
    load.start()
    load.hear(40)
    assert serving_processes(workers) == 2
    figures = added_up(workers)
    assert figures >= len(load.acknowledged) - CLIENTS
    assert workers.end() == 0
    load.join()
    assert workers.refuses()
    check(workers, load)


def test_a_process_that_is_killed_is_replaced_and_nothing_is_lost(workers: Service) -> None:
    load = Load(workers, "load")
    load.start()
    load.hear(20)
    os.kill(worker_ids(workers)[0], signal.SIGKILL)
    until(lambda: serving_processes(workers) == 2, seconds=END_SECONDS)
    second = Load(workers, "second")
    second.start()
    second.hear(20)
    second.stop()
    load.stop()
    assert workers.end() == 0
    check(workers, load, second)


def worker_ids(workers: Service) -> list[int]:
    """The processes that serve: the children that were spawned from the command, without their helpers."""
    assert workers.process is not None
    children = psutil.Process(workers.process.pid).children()
    living = [child for child in children if child.status() != psutil.STATUS_ZOMBIE]
    return [child.pid for child in living if "spawn_main" in " ".join(child.cmdline())]


def serving_processes(workers: Service) -> int:
    return len(worker_ids(workers))


def added_up(workers: Service) -> float:
    """Choices requests that all processes together have counted."""
    token = (workers.settings.data_dir / "operator.token").read_text().strip()
    headers = {"Authorization": f"Bearer {token}"}
    text = httpx.get(f"{workers.url}/metrics", headers=headers, trust_env=False).text
    wanted = 'confide_requests_total{method="POST",route="/v1/choices",status="200"} '
    return float(next(line for line in text.splitlines() if line.startswith(wanted)).removeprefix(wanted))


def test_several_processes_on_sqlite_are_refused(tmp_path: Path) -> None:
    with service(tmp_path, f"sqlite:///{tmp_path / 'consent.db'}") as found:
        with pytest.raises(AssertionError, match="need PostgreSQL"):
            found.start("--workers", "2")
        assert found.process is not None
        assert found.process.returncode == 2
