"""A real `confide consent serve`, and clients that record choices without pause and note what was acknowledged."""

import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from threading import Condition, Event, Thread

import httpx
from deployed_processes import free_ports

from consent.client import ConsentClient
from consent.contract import Act, Channel, Choice, SigningKey
from consent.errors import ConsentError
from consent.service import initialise
from consent.settings import ConsentSettings
from consent.wire import Role

START_SECONDS = 90.0
END_SECONDS = 60.0
CLIENTS = 4
BATCH = 3


def pseudonym(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def batch(key: str) -> list[Choice]:
    return [
        Choice(brand="acme", subject=pseudonym(key), act=Act.GRANT, channel=one) for one in list(Channel)[:BATCH]
    ]


@dataclass
class Service:
    """A service's settings, its brand's token, and the process while there is one."""

    settings: ConsentSettings
    token: str
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings.port}"

    def start(self, *options: str) -> None:
        values = {
            "DATA_DIR": str(self.settings.data_dir),
            "DATABASE_URL": self.settings.url,
            "PORT": str(self.settings.port),
            "PUBLISH_INTERVAL": "0.05",
            "RATE_FACTOR": "1000",
        }
        with (self.settings.data_dir.parent / "service.log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(Path(sys.executable).with_name("confide")), "consent", "serve", *options],
                cwd=self.settings.data_dir.parent,
                env={**os.environ, **{f"CONFIDE_CONSENT_{name}": value for name, value in values.items()}},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        until(self.answers, seconds=START_SECONDS)

    def answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.settings.data_dir.parent / "service.log").read_text()[-4_000:]
        try:
            return httpx.get(f"{self.url}/healthz", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    def refuses(self) -> bool:
        """Whether nobody takes connections any more."""
        try:
            socket.create_connection(("127.0.0.1", self.settings.port), timeout=5).close()
        except OSError:
            return True
        return False

    def end(self) -> int:
        """Ask it to end, and return its exit status."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(END_SECONDS)

    def kill(self) -> None:
        """Take it and all its children away at once."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(END_SECONDS)


def until(ready: object, *, seconds: float) -> None:
    """Wait for a state of another process."""
    assert callable(ready)
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline
        Event().wait(0.02)


@contextmanager
def service(folder: Path, database_url: str) -> Iterator[Service]:
    """Create a service in an empty folder; whatever still runs at the end is killed."""
    settings = ConsentSettings(data_dir=folder / "consent", database_url=database_url, port=free_ports(1)[0])
    operator = initialise(settings)
    found = Service(settings, operator)
    with ExitStack() as resources:
        resources.callback(found.kill)
        found.start()
        with httpx.Client(base_url=found.url, trust_env=False, timeout=60) as http:
            key = SigningKey.generate().public_key
            found.token = ConsentClient(http, operator).enrol(Role.BRAND, "acme", key)
        assert found.end() == 0
        yield found


@dataclass
class Load:
    """Clients that record one batch after another, each under a key of its own, until they fail or are stopped."""

    service: Service
    name: str
    acknowledged: dict[str, tuple[int, ...]] = field(default_factory=dict)
    tried: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._changed = Condition()
        self._stopped = Event()
        self._threads = [Thread(target=self._work, args=(number,)) for number in range(CLIENTS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def hear(self, more: int) -> None:
        """Wait until so many more batches are acknowledged."""
        with self._changed:
            wanted = len(self.acknowledged) + more
            assert self._changed.wait_for(lambda: len(self.acknowledged) >= wanted, timeout=END_SECONDS)

    def join(self) -> None:
        """Wait until every client has noticed that the service is gone."""
        for thread in self._threads:
            thread.join(END_SECONDS)
            assert not thread.is_alive()

    def stop(self) -> None:
        self._stopped.set()
        self.join()

    def _work(self, number: int) -> None:
        with httpx.Client(base_url=self.service.url, trust_env=False, timeout=END_SECONDS) as http:
            client = ConsentClient(http, self.service.token)
            for step in count():
                key = f"{self.name}-{number}-{step}"
                self.tried.add(key)
                try:
                    indices = client.record(batch(key), idempotency_key=key)
                except ConsentError:
                    return
                with self._changed:
                    self.acknowledged[key] = indices
                    self._changed.notify_all()
                if self._stopped.is_set():
                    return
