"""Group commit: what waits together becomes durable together, and fails alone."""

import itertools
import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from threading import Event

import pytest
from sqlalchemy import Connection, event, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from consent.errors import UnavailableError
from consent.log.commitments import Opening
from consent.log.store import append, create_head, entries, read_head
from consent.store import Database
from consent.store.group import MOST_MEMBERS, GroupCommit

PATIENCE = 30.0
Work = Callable[[Session], None]


class Observed:
    """A database whose writers can be held together in one group, and whose commits are counted."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.commits = 0
        self.group = GroupCommit(connect=self._connect, give_back=lambda connection: connection.close())
        event.listen(database.engine, "commit", self._count)

    def _connect(self) -> Connection:
        return self.database.engine.connect().execution_options(sqlite_begin="IMMEDIATE")

    def _waits(self, threads: int) -> bool:
        return self.group.waiting == threads

    def _count(self, _connection: object) -> None:
        self.commits += 1

    def together(self, works: Sequence[Work]) -> list[Future[None]]:
        """Do the works in this order, each waiting before the first one ends."""
        entered, released = Event(), Event()

        def run(work: Work, *, first: bool) -> None:
            with self.group.writing() as session:
                if first:
                    entered.set()
                    released.wait(PATIENCE)
                work(session)

        with ThreadPoolExecutor(len(works)) as pool:
            futures = [pool.submit(run, works[0], first=True)]
            assert entered.wait(PATIENCE)
            for place, work in enumerate(works[1:], 1):
                futures.append(pool.submit(run, work, first=False))
                until(partial(self._waits, place))
            released.set()
        return futures

    def numbers(self) -> list[int]:
        """The numbers of the works whose entries are durable, in order."""
        with self.database.reading() as session:
            found = entries(session, 0, read_head(session).size)
            openings = [one.opening for one in found]
        return [json.loads(opening.payload)["number"] for opening in openings if isinstance(opening, Opening)]


def until(holds: Callable[[], bool]) -> None:
    """Wait for a state of other threads."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        Event().wait(0.001)
        assert time.monotonic() < deadline


@pytest.fixture
def observed(database_url: str) -> Iterator[Observed]:
    database = Database.connect(database_url)
    database.migrate()
    with database.writing() as session:
        create_head(session)
    found = Observed(database)
    yield found
    database.close()


def appending(number: int) -> Work:
    def work(session: Session) -> None:
        append(session, [{"number": number}])

    return work


def failing(number: int) -> Work:
    def work(session: Session) -> None:
        append(session, [{"number": number}])
        raise ZeroDivisionError

    return work


def test_those_who_wait_share_one_commit(observed: Observed) -> None:
    futures = observed.together([appending(number) for number in range(6)])
    assert [future.exception() for future in futures] == [None] * 6
    assert sorted(observed.numbers()) == list(range(6))
    assert observed.commits == 1


def test_a_group_ends_at_its_cap(observed: Observed) -> None:
    observed.together([appending(number) for number in range(MOST_MEMBERS + 2)])
    assert len(observed.numbers()) == MOST_MEMBERS + 2
    assert observed.commits == 2


def test_a_member_that_fails_takes_only_itself_back(observed: Observed) -> None:
    """Every pattern of four members."""
    durable: list[int] = []
    for pattern, fails in enumerate(itertools.product([False, True], repeat=4)):
        works = [
            failing(10 * pattern + number) if fail else appending(10 * pattern + number)
            for number, fail in enumerate(fails)
        ]
        futures = observed.together(works)
        assert [isinstance(future.exception(), ZeroDivisionError) for future in futures] == list(fails)
        durable += [10 * pattern + number for number, fail in enumerate(fails) if not fail]
        assert observed.numbers() == durable


def test_a_failed_commit_fails_every_member(observed: Observed) -> None:
    def refuse(_connection: object) -> None:
        raise OperationalError("COMMIT", None, sqlite3.OperationalError("disk full"))

    event.listen(observed.database.engine, "commit", refuse)
    futures = observed.together([appending(0), appending(1), failing(2)])
    event.remove(observed.database.engine, "commit", refuse)
    kinds = [type(future.exception()) for future in futures]
    assert kinds[2] is ZeroDivisionError
    assert set(kinds[:2]) <= {UnavailableError, OperationalError}
    with observed.group.writing() as session:
        appending(9)(session)
    assert observed.numbers() == [9]


def test_a_transaction_that_the_database_ended_is_nobodys(observed: Observed) -> None:
    """SQLite rolls back by itself on some faults; what was done before must not be acknowledged."""
    if observed.database.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL keeps a failed transaction open until it is told to roll back.")

    def ended(session: Session) -> None:
        session.execute(text("SELECT 1"))
        session.connection().connection.cursor().execute("ROLLBACK")
        raise ZeroDivisionError

    futures = observed.together([appending(0), ended, appending(2)])
    kinds = [type(future.exception()) for future in futures]
    assert kinds == [UnavailableError, OperationalError, type(None)]
    assert observed.numbers() == [2]


def test_who_works_alone_sees_no_open_transaction(observed: Observed) -> None:
    with observed.group.writing() as session:
        append(session, [{"number": 0}])
    with observed.group.alone():
        assert observed.numbers() == [0]


def test_a_plain_connection_shares_commits_and_fails_alone(observed: Observed) -> None:
    def plainly(number: int, *, fails: bool) -> None:
        with observed.group.connected() as connection:
            append(connection, [{"number": number}])
            if fails:
                raise ZeroDivisionError

    entered, released = Event(), Event()

    def first() -> None:
        with observed.group.writing() as session:
            entered.set()
            released.wait(PATIENCE)
            append(session, [{"number": 0}])

    with ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(first)]
        assert entered.wait(PATIENCE)
        for place, fails in enumerate((True, False), 1):
            futures.append(pool.submit(plainly, place, fails=fails))
            until(lambda place=place: observed.group.waiting == place)
        released.set()
    assert [type(future.exception()) for future in futures] == [type(None), ZeroDivisionError, type(None)]
    assert observed.numbers() == [0, 2]
    assert observed.commits == 1
