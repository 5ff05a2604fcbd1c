"""Publishing beside the requests: soon, together, again after a failure, and before an orderly stop ends."""

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import pytest
from sqlalchemy.orm import Session

from consent.contract import SigningKey
from consent.errors import LogInconsistentError
from consent.log import publisher as publisher_module
from consent.log import tiling
from consent.log.note import Note
from consent.log.publisher import Publisher
from consent.log.publishing import BackgroundPublisher
from consent.log.store import StoredEntry, append, create_head, entries
from consent.log.verify import verify_folder
from consent.service import create_app, initialise
from consent.settings import ConsentSettings
from consent.store import Database

PATIENCE = 20.0


class Scripted:
    """A publisher that counts, waits and fails as told."""

    def __init__(self) -> None:
        self.calls = 0
        self.faults: list[Exception] = []
        self.called = threading.Condition()

    def publish(self) -> None:
        with self.called:
            self.calls += 1
            self.called.notify_all()
            if self.faults:
                raise self.faults.pop()

    def wait_for(self, calls: int) -> None:
        with self.called:
            assert self.called.wait_for(lambda: self.calls >= calls, PATIENCE)


def background(scripted: Scripted, interval: float, told: list[Exception] | None = None) -> BackgroundPublisher:
    tell: Callable[[Exception], None] = (told if told is not None else []).append
    publisher: Any = scripted
    return BackgroundPublisher(publisher, interval=interval, on_failure=tell)


def test_many_appends_are_one_publication() -> None:
    scripted = Scripted()
    publishing = background(scripted, 0.5)
    for _ in range(100):
        publishing.appended()
    assert scripted.calls == 0
    scripted.wait_for(1)
    publishing.close()
    assert scripted.calls == 1


def test_an_append_is_published_without_another_one() -> None:
    scripted = Scripted()
    publishing = background(scripted, 0.01)
    for number in range(1, 4):
        publishing.appended()
        scripted.wait_for(number)
    publishing.close()


def test_a_stop_publishes_what_is_left() -> None:
    scripted = Scripted()
    publishing = background(scripted, 1.0)
    publishing.appended()
    publishing.close()
    publishing.close()
    assert scripted.calls == 1


def test_what_comes_after_the_stop_is_published_at_once() -> None:
    scripted = Scripted()
    publishing = background(scripted, 1.0)
    publishing.close()
    publishing.appended()
    assert scripted.calls == 1


def test_a_failure_is_told_and_tried_again_without_a_new_append() -> None:
    scripted, told = Scripted(), list[Exception]()
    scripted.faults = [OSError("full"), ValueError("anything")]
    publishing = background(scripted, 0.01, told)
    publishing.appended()
    scripted.wait_for(3)
    publishing.close()
    assert publishing.healthy
    assert [type(error) for error in told] == [ValueError, OSError]


def test_health_is_red_from_the_failure_to_the_next_success() -> None:
    scripted = Scripted()
    publishing = background(scripted, 0)
    scripted.faults = [OSError("full")]
    publishing.appended()
    assert not publishing.healthy
    scripted.faults = [OSError("still full")]
    with pytest.raises(OSError, match="still full"):
        publishing.flush()
    assert not publishing.healthy
    publishing.flush()
    assert publishing.healthy


def test_a_closed_service_has_published_everything(tmp_path: Path) -> None:
    settings = ConsentSettings(data_dir=tmp_path / "consent", publish_interval=1)
    initialise(settings)
    workplace = create_app(settings).state.workplace
    before = (settings.log_dir / "checkpoint").read_text()
    for number in range(3):
        with workplace.writing() as unit:
            unit.log("test", {"number": number})
    assert (settings.log_dir / "checkpoint").read_text() == before
    workplace.close()
    report = verify_folder(settings.log_dir)
    assert (report.findings, report.size) == ([], 4)


def test_a_served_application_publishes_when_it_is_stopped(tmp_path: Path) -> None:
    settings = ConsentSettings(data_dir=tmp_path / "consent", publish_interval=1)
    initialise(settings)
    app = create_app(settings)

    async def serve() -> None:
        async with app.router.lifespan_context(app):
            with app.state.workplace.writing() as unit:
                unit.log("test", {})

    anyio.run(serve)
    assert verify_folder(settings.log_dir).size == 2


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database.connect(f"sqlite:///{tmp_path / 'log.db'}")
    database.migrate()
    with database.writing() as session:
        create_head(session)
    yield database
    database.close()


def grow(database: Database, count: int) -> None:
    with database.writing() as session:
        append(session, [{"kind": "test"}] * count)


class Faulty:
    """Stands before a function and raises at one of its calls, before or after doing what it should."""

    def __init__(self, function: Callable[..., None], *, at: int, after: bool) -> None:
        self._function, self._left, self._after = function, at, after

    def __call__(self, *arguments: Any) -> None:
        self._left -= 1
        if self._after or self._left:
            self._function(*arguments)
        if not self._left:
            raise OSError("no space left")


@pytest.mark.parametrize("first", [0, 250])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    ("module", "step"),
    [(tiling, "write_atomically"), (publisher_module, "write_atomically"), (publisher_module, "sync_folders")],
    ids=["tile", "head", "folders"],
)
def test_a_publication_that_failed_anywhere_is_done_again_by_the_same_service(
    database: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    module: ModuleType,
    step: str,
    after: bool,
    first: int,
) -> None:
    key = SigningKey.generate()
    for at in range(1, 9):
        folder = tmp_path / f"log-{at}"
        publisher = Publisher(database=database, folder=folder, origin="log.example", key=key)
        if first:
            publisher.start()
        folder.mkdir(exist_ok=True)
        grow(database, 250)
        with monkeypatch.context() as patch:
            patch.setattr(module, step, Faulty(getattr(module, step), at=at, after=after))
            with suppress(OSError):
                publisher.publish()
        grow(database, 10)
        publisher.start()
        assert verify_folder(folder).findings == []


def test_a_folder_verifies_at_any_moment_while_it_is_published(database: Database, tmp_path: Path) -> None:
    folder, key, stopped = tmp_path / "public" / "log", SigningKey.generate(), threading.Event()
    publisher = Publisher(database=database, folder=folder, origin="log.example", key=key)
    publisher.start()

    def publish() -> None:
        while not stopped.is_set():
            grow(database, 3)
            publisher.publish()

    thread = threading.Thread(target=publish)
    thread.start()
    size, findings = 0, []
    while thread.is_alive() and size < 90 and not findings:
        report = verify_folder(folder)
        size, findings = report.size or 0, report.findings
    stopped.set()
    thread.join()
    assert findings == []
    assert size >= 90


class Parts:
    """Stands before the reading of entries and notes which were read in one go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.read: list[tuple[int, int]] = []
        monkeypatch.setattr(publisher_module, "entries", self)

    def __call__(self, session: Session, start: int, end: int) -> Iterator[StoredEntry]:
        self.read.append((start, end))
        return entries(session, start, end)


def test_many_entries_are_published_in_parts_and_come_under_one_head(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, parts, heads = tmp_path / "log", Parts(monkeypatch), list[int]()

    def seal(note: str) -> str:
        heads.append(Note.parse(note).checkpoint.size)
        return note

    publisher = Publisher(
        database=database, folder=folder, origin="log.example", key=SigningKey.generate(), seal=seal
    )
    for size in (300, 10_000):
        grow(database, size)
        publisher.start()
    assert parts.read == [(0, 300), (300, 4096), (4096, 8192), (8192, 10_300)]
    assert heads == [300, 10_300]
    report = verify_folder(folder)
    assert (report.findings, report.size, report.openings) == ([], 10_300, 10_300)


@pytest.mark.parametrize("first", [0, 300])
@pytest.mark.parametrize("again", ["the same service", "a restart"])
def test_a_long_publication_that_broke_off_between_its_parts_leaves_nothing_behind(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: int, again: str
) -> None:
    key = SigningKey.generate()

    def publisher(name: str) -> Publisher:
        return Publisher(database=database, folder=tmp_path / name, origin="log.example", key=key)

    broken, whole = publisher("broken"), publisher("whole")
    grow(database, first)
    broken.start()
    whole.start()
    before = contents(broken.folder)
    grow(database, 9_000)
    with monkeypatch.context() as patch:
        patch.setattr(broken._openings, "append", Faulty(broken._openings.append, at=3, after=True))
        with pytest.raises(OSError, match="no space left"):
            broken.publish()
    assert len(contents(broken.folder)) > len(before) + 60
    assert contents(broken.folder)["checkpoint"] == before["checkpoint"]
    (broken if again == "the same service" else publisher("broken")).start()
    whole.start()
    assert contents(broken.folder) == contents(whole.folder)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_entries_that_do_not_lead_to_the_head_are_refused_and_taken_away_again(
    database: Database, tmp_path: Path
) -> None:
    heads: list[str] = []

    def seal(note: str) -> str:
        heads.append(note)
        return note

    folder = tmp_path / "log"
    publisher = Publisher(
        database=database, folder=folder, origin="log.example", key=SigningKey.generate(), seal=seal
    )
    grow(database, 300)
    publisher.start()
    before = contents(folder)
    grow(database, 9_000)
    with database.writing() as session:
        session.connection().exec_driver_sql("DROP TRIGGER log_entries_refuse_update")
        session.connection().exec_driver_sql("UPDATE log_entries SET entry = x'00' WHERE log_index = 400")
    with pytest.raises(LogInconsistentError, match="do not lead"):
        publisher.publish()
    assert len(heads) == 1
    assert contents(folder) == before
