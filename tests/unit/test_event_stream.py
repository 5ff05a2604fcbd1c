"""The stream of events over real HTTP: a withdrawal is in force at a connected agent, and nothing is lost."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from consent_model import NOTICE, choice_of, purpose_named
from deployed_processes import Processes, answers, free_ports

from consent.client import ConsentClient
from consent.contract import Act, Notice, SigningKey
from consent.decider import Decider, DeciderPolicy, LocalReason
from consent.errors import InvalidRequestError, RateLimitedError, UnavailableError
from consent.events import Position, Withdrawal, read_events
from consent.following import Follower
from consent.service.streams import MOST_PER_PRINCIPAL, Streams
from consent.serving import GRACE_SECONDS
from consent.wire import Role

PURPOSE = "conversion"
ANN, BEN, EVE = (hashlib.sha256(name).hexdigest() for name in (b"ann", b"ben", b"eve"))
YES, NO = Act.GRANT, Act.WITHDRAW
SECONDS = 20
IN_FORCE_SECONDS = 1.0


class Heard(Decider):
    """A decider that says when it has taken something in, so that a test can wait for it."""

    def __init__(self, *args: Any, **values: Any) -> None:
        super().__init__(*args, **values)
        self.moved = threading.Condition()

    def apply(self, event: Any) -> None:
        super().apply(event)
        with self.moved:
            self.moved.notify_all()

    def wait_until(self, holds: Callable[[], bool], seconds: float = SECONDS) -> bool:
        with self.moved:
            return self.moved.wait_for(holds, timeout=seconds)


@dataclass
class Town:
    """A consent service in a process of its own, and two brands."""

    folder: Path
    processes: Processes
    database_url: str

    def __post_init__(self) -> None:
        (self.port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{self.port}"
        self.enrolled = 0
        self.environment = {
            "CONFIDE_CONSENT_DATA_DIR": str(self.folder / "data"),
            "CONFIDE_CONSENT_PORT": str(self.port),
            "CONFIDE_CONSENT_DATABASE_URL": self.database_url,
        }
        assert (
            self.processes.run("init", "confide", "consent", "init", folder=self.folder, **self.environment) == 0
        )
        self.http = httpx.Client(base_url=self.url, trust_env=False, timeout=30)
        self.serve()
        self.operator = ConsentClient(self.http, (self.folder / "data" / "operator.token").read_text().strip())
        self.operator.declare_purpose(purpose_named(PURPOSE))
        self.operator.publish_notice(Notice(purpose=PURPOSE, language="en", text=NOTICE))
        self.key = self.operator.service_key()

    def close(self) -> None:
        self.http.close()
        self.processes.stop()

    def serve(self, name: str = "serve") -> None:
        self.serve_at(self.port, name)

    def serve_at(self, port: int, name: str) -> None:
        environment = {**self.environment, "CONFIDE_CONSENT_PORT": str(port)}
        self.processes.start(name, "confide", "consent", "serve", folder=self.folder, **environment)
        self.processes.wait_for(name, lambda: answers(f"http://127.0.0.1:{port}/healthz"), seconds=60)

    def brand(self) -> "Brand":
        """Enrol a brand that no other test knows."""
        self.enrolled += 1
        name = f"brand-{self.enrolled}"
        token = self.operator.enrol(Role.BRAND, name, SigningKey.generate().public_key)
        return Brand(name, token, ConsentClient(self.http, token), self.key)


@dataclass
class Brand:
    """A brand at the service."""

    name: str
    token: str
    client: ConsentClient
    service_key: str
    recorded: int = 0

    def record(self, act: Act, *subjects: str) -> None:
        self.recorded += 1
        choices = [choice_of(self.name, subject, PURPOSE, act) for subject in subjects]
        self.client.record(choices, idempotency_key=str(self.recorded))

    def decider(self) -> Heard:
        return Heard(self.name, self.service_key, DeciderPolicy(max_age=timedelta(hours=1)))

    def size(self) -> int:
        return self.client.roster(PURPOSE).head.body.log_size


@contextmanager
def started(folder: Path, database_url: str) -> Iterator[Town]:
    processes = Processes(folder / "logs", {})
    try:
        town = Town(folder, processes, database_url)
        with closing(town):
            yield town
    finally:
        processes.stop()


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def town(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    folder = tmp_path_factory.mktemp("town")
    url = f"sqlite:///{folder / 'consent.db'}"
    if request.param == "postgresql":
        make: Callable[[], str] = request.getfixturevalue("postgres_url")
        url = make()
    with started(folder, url) as town:
        yield town


def test_a_withdrawal_is_in_force_at_a_connected_agent_within_a_second(town: Town) -> None:
    acme, other = town.brand(), town.brand()
    acme.record(YES, ANN, BEN)
    other.record(YES, ANN)
    decider, bystander = acme.decider(), other.decider()
    with Follower(acme.client, decider, [PURPOSE]), Follower(other.client, bystander, [PURPOSE]):
        assert decider.wait_until(lambda: decider.decide(ANN, PURPOSE).allowed)
        assert bystander.wait_until(lambda: bystander.decide(ANN, PURPOSE).allowed)
        acme.record(NO, ANN)
        in_force = decider.wait_until(
            lambda: decider.decide(ANN, PURPOSE).reason is LocalReason.WITHDRAWN, IN_FORCE_SECONDS
        )
        assert in_force
        assert decider.decide(BEN, PURPOSE).allowed
        size = acme.size()
        assert bystander.wait_until(lambda: (bystander.position or 0) >= size)
        assert bystander.decide(ANN, PURPOSE).allowed


def test_what_another_process_writes_is_heard(town: Town) -> None:
    acme = town.brand()
    acme.record(YES, ANN)
    decider = acme.decider()
    (port,) = free_ports(1)
    town.serve_at(port, "another")
    with (
        Follower(acme.client, decider, [PURPOSE]),
        httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30) as http,
    ):
        assert decider.wait_until(lambda: decider.decide(ANN, PURPOSE).allowed)
        withdrawal = [choice_of(acme.name, ANN, PURPOSE, NO)]
        ConsentClient(http, acme.token).record(withdrawal, idempotency_key="elsewhere")
        assert decider.wait_until(lambda: decider.decide(ANN, PURPOSE).reason is LocalReason.WITHDRAWN)


def test_a_change_that_names_nobody_denies_until_the_new_roster(town: Town) -> None:
    acme = town.brand()
    acme.record(YES, ANN, BEN)
    decider = acme.decider()
    with Follower(acme.client, decider, [PURPOSE]):
        assert decider.wait_until(lambda: decider.decide(BEN, PURPOSE).allowed)
        acme.client.merge(acme.name, BEN, EVE)
        assert decider.wait_until(lambda: decider.decide(BEN, PURPOSE).reason is LocalReason.NOT_LISTED)
        assert decider.wait_until(lambda: decider.decide(ANN, PURPOSE).allowed)


def test_what_happened_while_nobody_was_connected_is_told_on_return(town: Town) -> None:
    acme = town.brand()
    acme.record(YES, ANN, BEN)
    size = acme.size()
    acme.record(NO, ANN)
    with acme.client.events(size) as events:
        heard = [next(events) for _ in range(3)]
    assert isinstance(heard[1], Withdrawal)
    assert (heard[1].subject, heard[2]) == (ANN, Position(log_size=acme.size()))
    with acme.client.events(heard[1].log_index + 1) as events:
        assert isinstance(next(events), Position)


def test_a_restart_is_survived_and_denied_meanwhile(tmp_path: Path) -> None:
    with started(tmp_path, f"sqlite:///{tmp_path / 'consent.db'}") as town:
        acme = town.brand()
        acme.record(YES, ANN, BEN)
        decider = acme.decider()
        with Follower(acme.client, decider, [PURPOSE], retry=0.05):
            assert decider.wait_until(lambda: decider.decide(ANN, PURPOSE).allowed)
            terminate(town, "serve")
            town.processes.wait_for(
                "silence", lambda: decider.decide(ANN, PURPOSE).reason is LocalReason.SILENT, seconds=SECONDS
            )
            town.serve("serve-again")
            acme.record(NO, BEN)
            assert decider.wait_until(lambda: decider.decide(BEN, PURPOSE).reason is LocalReason.WITHDRAWN)
            assert decider.wait_until(lambda: decider.decide(ANN, PURPOSE).allowed)


def terminate(town: Town, name: str) -> None:
    """Tell the service to end, and wait until it has: a stream that stayed open would keep it for longer."""
    process = town.processes._running.pop(name)
    process.terminate()
    assert process.wait(GRACE_SECONDS / 2) == 0


def test_streams_of_one_principal_are_bounded_and_free_again_when_closed(town: Town) -> None:
    acme, other = town.brand(), town.brand()
    size = acme.size()
    with ExitStack() as streams:
        others = [streams.enter_context(acme.client.events(size)) for _ in range(MOST_PER_PRINCIPAL - 1)]
        assert all(isinstance(next(events), Position) for events in others)
        with acme.client.events(size) as events:
            assert isinstance(next(events), Position)
            assert not connects(acme, size)
            assert connects(other, size)
        town.processes.wait_for("a free place", lambda: connects(acme, size), seconds=SECONDS)


def connects(brand: Brand, size: int) -> bool:
    with suppress(RateLimitedError), brand.client.events(size) as events:
        return isinstance(next(events), Position)
    return False


def test_no_pseudonym_is_in_the_lines_of_the_service(town: Town) -> None:
    acme = town.brand()
    acme.record(YES, ANN)
    size = acme.size()
    acme.record(NO, ANN)
    with acme.client.events(size) as events:
        assert any(isinstance(event, Withdrawal) for event in (next(events) for _ in range(3)))
    town.processes.wait_for(
        "the line of the stream", lambda: "/v1/events" in town.processes.output("serve"), seconds=SECONDS
    )
    assert ANN not in town.processes.output("serve")


def test_a_stream_begins_at_a_position(consent_world: Any) -> None:
    consent_world.brand("acme")
    headers = {"Authorization": f"Bearer {consent_world.tokens['acme']}"}
    for bad in ({}, {"Last-Event-ID": "-1"}, {"Last-Event-ID": ANN}):
        response = consent_world.http.get("/v1/events", headers={**headers, **bad})
        assert (response.status_code, ANN in response.text) == (422, False)
    assert InvalidRequestError.code in response.text


def test_no_stream_begins_when_the_service_ends() -> None:
    streams = Streams(most=1)
    with streams.one_of(1), streams.one_of(2):
        with pytest.raises(RateLimitedError), streams.one_of(1):
            pass
        streams.end()
        assert streams.ending
    with pytest.raises(RateLimitedError), streams.one_of(1):
        pass


@pytest.mark.parametrize("lines", [["event: gift", "data: {}", ""], ["event: position", "data: {}", ""]])
def test_what_is_no_event_is_a_fault(lines: list[str]) -> None:
    with pytest.raises(UnavailableError):
        list(read_events(lines))


def test_comments_ids_and_unfinished_events_are_passed_over() -> None:
    lines = [": ping", "", "event: position", 'data: {"log_size":7}', "id: 6", "", "event: position", "data: {}"]
    assert list(read_events(lines)) == [Position(log_size=7)]
