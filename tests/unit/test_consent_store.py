"""The database, on SQLite and on PostgreSQL: schema, atomicity, and writers that can not fork the log."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from threading import Barrier

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import func, select

from consent.contract import Act, Choice
from consent.errors import LogConflictError, SetupError
from consent.log import store
from consent.log.commitments import Opening
from consent.log.merkle import Frontier, leaf_hash
from consent.log.store import append, create_head, entries, read_head
from consent.log.verify import verify_folder
from consent.service import create_app, initialise
from consent.service.choices import record
from consent.service.work import Caller, Workplace
from consent.settings import ConsentSettings
from consent.store import Database
from consent.store.schema import Base, ChoiceRow, IdempotencyRow, LogEntry, StateRow
from consent.wire import ChoiceBatch, Role

ANN = hashlib.sha256(b"ann").hexdigest()


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database.connect(database_url)
    database.migrate()
    with database.writing() as session:
        create_head(session)
    yield database
    database.close()


def check_log(database: Database) -> int:
    """Check that the stored entries lead to the stored head; return their number."""
    frontier = Frontier()
    with database.reading() as session:
        head = read_head(session)
        for stored in entries(session, 0, head.size):
            if isinstance(stored.opening, Opening):
                assert stored.opening.opens(stored.entry)
            frontier.append(leaf_hash(stored.entry))
        assert session.scalar(select(func.count()).select_from(LogEntry)) == head.size
    assert (frontier.root(), frontier.nodes) == (head.root(), head.nodes)
    return head.size


def test_the_migrations_lead_to_the_schema(database: Database) -> None:
    with database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    database.check_schema()
    database.migrate()


def test_a_database_without_schema_is_refused(empty_database_url: str) -> None:
    database = Database.connect(empty_database_url)
    with pytest.raises(SetupError, match="confide consent init"):
        database.check_schema()
    database.close()


def test_appended_entries_lead_to_the_head(database: Database) -> None:
    for count in (1, 2, 0, 255, 300):
        with database.writing() as session:
            indices = append(session, [{"kind": "test", "number": number} for number in range(count)])
            assert len(indices) == count
    assert check_log(database) == 558


def test_a_transaction_that_fails_leaves_no_entry(database: Database) -> None:
    with suppress(ZeroDivisionError), database.writing() as session:
        append(session, [{"kind": "lost"}])
        raise ZeroDivisionError
    assert check_log(database) == 0


def test_writers_at_once_do_not_fork(database: Database, database_url: str) -> None:
    others = [Database.connect(database_url) for _ in range(4)]
    barrier = Barrier(len(others))

    def write(number: int) -> None:
        barrier.wait()
        for step in range(10):
            with others[number].writing() as session:
                append(session, [{"kind": "race", "writer": number, "step": step}] * 3)

    with ThreadPoolExecutor(len(others)) as pool:
        list(pool.map(write, range(len(others))))
    for other in others:
        other.close()
    assert check_log(database) == 4 * 10 * 3


def test_a_writer_with_an_old_head_is_refused(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The compare-and-swap holds even where the lock on the head would not."""
    with database.writing() as session:
        append(session, [{"kind": "first"}])
    monkeypatch.setattr(store, "_head", lambda *_: Frontier())
    with pytest.raises(LogConflictError), database.writing() as session:
        append(session, [{"kind": "fork"}])
    monkeypatch.undo()
    assert check_log(database) == 1


@pytest.fixture
def workplace(database_url: str, tmp_path: Path) -> Iterator[Workplace]:
    settings = ConsentSettings(data_dir=tmp_path / "consent", database_url=database_url, publish_interval=0.01)
    initialise(settings)
    workplace: Workplace = create_app(settings).state.workplace
    yield workplace
    workplace.close()


CALLER = Caller(id=1, role=Role.BRAND, name="acme", public_key=None)
CHANNEL_CHOICE = Choice(brand="acme", subject=ANN, act=Act.GRANT, channel="sms")


def batch(key: str, count: int = 1) -> ChoiceBatch:
    return ChoiceBatch(idempotency_key=key, choices=(CHANNEL_CHOICE,) * count)


def counts(workplace: Workplace) -> dict[str, int]:
    with workplace.database.reading() as session:
        tables = (LogEntry, ChoiceRow, StateRow, IdempotencyRow)
        return {table.__tablename__: session.query(table).count() for table in tables}


@pytest.mark.parametrize("step", ["_store", "_fold"])
def test_a_fault_between_rows_and_entries_leaves_neither(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    before = counts(workplace), (workplace.publisher.folder / "checkpoint").read_bytes()

    def fail(*_: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(f"consent.service.choices.{step}", fail)
        with pytest.raises(OSError, match="disk full"), workplace.writing() as unit:
            record(unit, CALLER, batch("lost"))
    assert (counts(workplace), (workplace.publisher.folder / "checkpoint").read_bytes()) == before
    with workplace.writing() as unit:
        record(unit, CALLER, batch("kept"))
    assert counts(workplace)["choices"] == 1
    workplace.publish_now()
    assert verify_folder(workplace.publisher.folder).verified


def test_a_fault_just_before_the_commit_leaves_nothing(workplace: Workplace) -> None:
    before = counts(workplace)
    with suppress(ZeroDivisionError), workplace.writing() as unit:
        record(unit, CALLER, batch("lost", 3))
        raise ZeroDivisionError
    assert counts(workplace) == before


def test_a_crash_after_the_commit_is_published_at_the_next_start(
    workplace: Workplace, tmp_path: Path, database_url: str
) -> None:
    with workplace.database.writing() as session:
        append(session, [{"kind": "committed, then the power failed"}] * 300)
    published = (workplace.publisher.folder / "checkpoint").read_bytes()
    app = create_app(ConsentSettings(data_dir=tmp_path / "consent", database_url=database_url))
    app.state.workplace.close()
    assert (workplace.publisher.folder / "checkpoint").read_bytes() != published
    report = verify_folder(workplace.publisher.folder)
    assert (report.verified, report.size) == (True, 301)


def test_two_services_on_one_database_publish_one_log(
    workplace: Workplace, tmp_path: Path, database_url: str
) -> None:
    settings = ConsentSettings(data_dir=tmp_path / "consent", database_url=database_url, publish_interval=0.01)
    other: Workplace = create_app(settings).state.workplace

    def work(numbered: tuple[int, Workplace]) -> None:
        number, place = numbered
        for step in range(8):
            with place.writing() as unit:
                record(unit, CALLER, batch(f"{number}-{step}", 20))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, enumerate([workplace, other, workplace, other])))
    other.close()
    workplace.close()
    assert workplace.healthy
    assert other.healthy
    report = verify_folder(workplace.publisher.folder)
    assert (report.findings, report.size, report.openings, report.sealed) == ([], 641, 1, 640)
    assert check_log(workplace.database) == 641


def test_times_come_back_in_utc(workplace: Workplace) -> None:
    with workplace.writing() as unit:
        record(unit, CALLER, batch("time"))
        now = unit.now
    with workplace.database.reading() as session:
        (found,) = session.scalars(select(ChoiceRow.recorded_at))
    assert (found, found.utcoffset()) == (now, timedelta(0))


def test_a_reader_sees_one_state(database: Database) -> None:
    with database.reading() as session:
        before = read_head(session).size
        with database.writing() as writer:
            append(writer, [{"kind": "meanwhile"}])
        assert read_head(session).size == before
    with database.reading() as session:
        assert read_head(session).size == before + 1
