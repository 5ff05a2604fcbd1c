"""The witness under load: too many heads get 429, a held database 503, each with when to come back."""

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import httpx
import pytest
from small_log import KEY, entries

from consent.contract import SigningKey
from consent.errors import BusyError, RateLimitedError
from consent.log import merkle
from consent.log.note import Checkpoint, sign_checkpoint, verifier_key
from consent.transport import InProcessTransport
from consent.witness import WitnessSettings, create_app, initialise
from consent.witness.limits import RateLimit
from consent.witness.setup import RATES, STATE

LEAVES = [merkle.leaf_hash(entry) for entry in entries(3)]
LOGS = ("one.example/log", "two.example/log")
BURST = 3


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000

    def __call__(self) -> int:
        return self.now


class Workers:
    """Workers of one witness that takes a head of each log every two seconds, and three at once."""

    def __init__(self, folder: Path, resources: ExitStack) -> None:
        self.clock = Clock()
        self.folder = folder
        self._resources = resources
        self._settings = WitnessSettings(
            data_dir=folder,
            name="w.example",
            logs=tuple(verifier_key(name, KEY).encode() for name in LOGS),
            submissions_per_second=0.5,
            submission_burst=BURST,
            lock_seconds=0,
        )
        initialise(self._settings)

    def start(self) -> httpx.Client:
        transport = InProcessTransport(create_app(self._settings, now=self.clock))
        self._resources.enter_context(transport)
        return self._resources.enter_context(httpx.Client(transport=transport, base_url="http://w"))


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    with ExitStack() as resources:
        yield Workers(tmp_path / "witness", resources)


def submit(http: httpx.Client, *, log: str = LOGS[0], old: int = 3, key: SigningKey = KEY) -> httpx.Response:
    head = sign_checkpoint(Checkpoint(log, 3, merkle.root_hash(LEAVES)), key)
    return http.post("/add-checkpoint", content=f"old {old}\n\n{head}")


def test_heads_over_the_rate_get_429_and_when_to_come_back(workers: Workers) -> None:
    http = workers.start()
    assert [submit(http, old=old).status_code for old in (0, 3, 3)] == [200] * BURST
    refused = submit(http)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "2")
    assert "2 seconds" in refused.text
    workers.clock.now += 1
    assert submit(http).headers["retry-after"] == "1"
    workers.clock.now += 1
    assert [submit(http).status_code for _ in range(2)] == [200, 429]
    workers.clock.now += 3600
    assert [submit(http).status_code for _ in range(BURST + 1)] == [200] * BURST + [429]


def test_every_log_has_a_rate_of_its_own(workers: Workers) -> None:
    http = workers.start()
    assert [submit(http, old=old).status_code for old in (0, 3, 3, 3)] == [200] * BURST + [429]
    assert submit(http, log=LOGS[1], old=0).status_code == 200


def test_workers_and_restarts_share_the_rate(workers: Workers) -> None:
    first, second = workers.start(), workers.start()
    assert [submit(http, old=old).status_code for http, old in ((first, 0), (second, 3), (first, 3))] == [200] * 3
    assert [submit(http).status_code for http in (first, second, workers.start())] == [429] * 3


def test_what_the_log_did_not_sign_does_not_count(workers: Workers) -> None:
    http, stranger = workers.start(), SigningKey.generate()
    assert {submit(http, key=stranger).status_code for _ in range(2 * BURST)} == {403}
    assert submit(http, old=0).status_code == 200


def test_what_is_refused_for_another_reason_counts(workers: Workers) -> None:
    http = workers.start()
    assert [submit(http, old=old).status_code for old in (0, 0, 0, 0)] == [200, 409, 409, 429]


def test_a_clock_that_is_set_back_keeps_nobody_out_for_long(workers: Workers) -> None:
    http = workers.start()
    assert [submit(http, old=old).status_code for old in (0, 3, 3)] == [200] * BURST
    workers.clock.now -= 86_400
    assert submit(http).headers["retry-after"] == "2"
    workers.clock.now += 2
    assert submit(http).status_code == 200


@pytest.mark.parametrize("held", [STATE, RATES])
def test_a_held_database_is_503_and_nothing_was_changed(workers: Workers, held: str) -> None:
    http = workers.start()
    with closing(sqlite3.connect(workers.folder / held, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        answer = submit(http, old=0)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        other.execute("ROLLBACK")
    assert submit(http, old=0).status_code == 200


def test_a_held_database_is_503_for_monitors_too(workers: Workers) -> None:
    http = workers.start()
    path = f"/{hashlib.sha256(LOGS[0].encode()).hexdigest()}/checkpoint"
    with closing(sqlite3.connect(workers.folder / STATE, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        answer = http.get(path)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert http.get(path).status_code == 404


def test_the_rate_is_exact_over_time(tmp_path: Path) -> None:
    """In any time, no more than the burst and what the rate gives for that time."""
    clock = Clock()
    limit = RateLimit(tmp_path / "rates", per_second=0.25, burst=5, wait=0, now=clock)

    def passes() -> bool:
        clock.now += 1
        with suppress(RateLimitedError):
            limit.admit("log")
            return True
        return False

    assert sum(passes() for _ in range(201)) == 5 + 200 // 4


def test_a_start_while_the_rates_are_held_is_one_sentence(workers: Workers) -> None:
    workers.start()
    (workers.folder / RATES).unlink()
    with closing(sqlite3.connect(workers.folder / RATES, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(BusyError, match="in use"):
            workers.start()
