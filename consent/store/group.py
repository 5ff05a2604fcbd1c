"""Group commit: one writer at a time, and one durable commit for all that were waiting.

A thread that has done its work while others wait hands them the open transaction instead of committing it; the
last of them commits for all. Each member works behind a savepoint, so that one that fails takes only itself back,
and none returns before the commit that makes its work durable.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection
from sqlalchemy.orm import Session

from consent.errors import UnavailableError

MOST_MEMBERS = 32
"""Members of one transaction; more would keep the first of them waiting for too long."""


class _Group:
    """One open transaction and those who work in it."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.transaction = connection.begin()
        self.members = 0
        self.fault: BaseException | None = None
        self._ended: threading.Event | None = None

    def share(self) -> None:
        """Have something for members to wait on; who stays alone needs nothing."""
        if self._ended is None:
            self._ended = threading.Event()

    def wait(self) -> None:
        """Wait until the transaction has ended."""
        if self._ended is not None:
            self._ended.wait()

    def end(self) -> None:
        """Wake those who wait."""
        if self._ended is not None:
            self._ended.set()

    @property
    def intact(self) -> bool:
        """Whether the database still holds the transaction open: SQLite ends it itself where a disk fails."""
        if self.connection.invalidated:
            return False
        return bool(getattr(self.connection.connection.dbapi_connection, "in_transaction", True))


class _Turn:
    """A lock that is given to those who wait in the order in which they came."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._taken = False
        self._gates: deque[threading.Lock] = deque()

    @property
    def waiting(self) -> int:
        return len(self._gates)

    def take(self) -> None:
        with self._mutex:
            if not self._taken:
                self._taken = True
                return
            gate = threading.Lock()
            gate.acquire()
            self._gates.append(gate)
        gate.acquire()

    def give(self) -> None:
        with self._mutex:
            if self._gates:
                self._gates.popleft().release()
            else:
                self._taken = False


class _Membership:
    """One member's stay in a group."""

    def __init__(self, writers: "GroupCommit") -> None:
        self._writers = writers

    def __enter__(self) -> _Group:
        self._group = self._writers.enter()
        return self._group

    def __exit__(self, kind: type[BaseException] | None, _error: object, _where: object) -> None:
        if kind is None:
            self._writers.done(self._group)
        else:
            self._writers.left(self._group)


class GroupCommit:
    """The writers of one process.

    Args:
        connect: gives a connection whose transactions write.
        give_back: takes it back after its transaction.
        committed: told of each commit, and how many shared it.
    """

    def __init__(
        self,
        *,
        connect: Callable[[], Connection],
        give_back: Callable[[Connection], None],
        committed: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._connect = connect
        self._give_back = give_back
        self._committed = committed
        self._turn = _Turn()
        self._group: _Group | None = None

    @property
    def waiting(self) -> int:
        """How many threads wait for their turn."""
        return self._turn.waiting

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """Give a session; when the block ends well, return once its work is durable.

        Raises:
            UnavailableError: another member's commit failed, and with it this one's work.
        """
        with _Membership(self) as group, _session(group) as session, session.begin():
            yield session

    @contextmanager
    def connected(self) -> Iterator[Connection]:
        """Give the connection itself, for work that needs no session: one costs as much as a short statement.

        Raises:
            UnavailableError: another member's commit failed, and with it this one's work.
        """
        with _Membership(self) as group:
            if group.members:
                with group.connection.begin_nested():
                    yield group.connection
            else:
                yield group.connection

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep all writers of this process off, with no transaction of theirs open."""
        self._turn.take()
        try:
            if self._group is not None:
                self._commit(self._group)
            yield
        finally:
            self._turn.give()

    def enter(self) -> _Group:
        """Wait for the turn, and return the group whose transaction is open then."""
        self._turn.take()
        try:
            if self._group is None:
                self._group = _Group(self._connect())
        except BaseException:
            self._turn.give()
            raise
        return self._group

    def done(self, group: _Group) -> None:
        """Join the group with finished work, and wait for its commit or make it.

        Raises:
            UnavailableError: another member's commit failed.
        """
        group.members += 1
        mine = not self._passed_on(group)
        if not mine:
            group.wait()
        if group.fault is not None:
            if mine:
                raise group.fault
            raise UnavailableError("The database failed and nothing was recorded; repeat the request.")

    def left(self, group: _Group) -> None:
        """Leave the group after a failure that took only this member's work back, or all of it."""
        if group.members == 0 or not group.intact:
            self._roll_back(group)
            self._turn.give()
        else:
            self._passed_on(group)

    def _passed_on(self, group: _Group) -> bool:
        """Give the turn to who waits, with the transaction open; where nobody does, commit first."""
        passed = self._turn.waiting > 0 and group.members < MOST_MEMBERS
        if passed:
            group.share()
        else:
            self._commit(group)
        self._turn.give()
        return passed

    def _commit(self, group: _Group) -> None:
        try:
            group.transaction.commit()
        except BaseException as error:
            group.fault = error
            group.connection.invalidate()
        else:
            self._committed(group.members)
        self._end(group)

    def _roll_back(self, group: _Group) -> None:
        group.fault = UnavailableError("The database took the transaction back.")
        try:
            if group.transaction.is_active:
                group.transaction.rollback()
        finally:
            self._end(group)

    def _end(self, group: _Group) -> None:
        self._group = None
        try:
            self._give_back(group.connection)
        finally:
            group.end()


def _session(group: _Group) -> Session:
    """Return a session behind a savepoint, but for the first member: what it takes back is all there is."""
    return Session(
        group.connection,
        autoflush=False,
        expire_on_commit=False,
        join_transaction_mode="create_savepoint" if group.members else "rollback_only",
    )
