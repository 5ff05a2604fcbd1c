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
        self.ended = threading.Event()
        self.fault: BaseException | None = None

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
        self._turn.take()
        try:
            group = self._group or self._begin()
        except BaseException:
            self._turn.give()
            raise
        try:
            with _session(group) as session, session.begin():
                yield session
        except BaseException:
            self._left(group)
            raise
        self._done(group)

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

    def _begin(self) -> _Group:
        self._group = _Group(self._connect())
        return self._group

    def _done(self, group: _Group) -> None:
        """Join the group with finished work, and wait for its commit or make it."""
        group.members += 1
        mine = not self._passed_on(group)
        group.ended.wait()
        if group.fault is not None:
            if mine:
                raise group.fault
            raise UnavailableError("The database failed and nothing was recorded; repeat the request.")

    def _left(self, group: _Group) -> None:
        """Leave the group after a failure that took only this member's work back, or all of it."""
        if group.members == 0 or not group.intact:
            self._roll_back(group)
            self._turn.give()
        else:
            self._passed_on(group)

    def _passed_on(self, group: _Group) -> bool:
        """Give the turn to who waits, with the transaction open; where nobody does, commit first."""
        passed = self._turn.waiting > 0 and group.members < MOST_MEMBERS
        if not passed:
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
            group.ended.set()


def _session(group: _Group) -> Session:
    """Return a session behind a savepoint, but for the first member: what it takes back is all there is."""
    return Session(
        group.connection,
        autoflush=False,
        expire_on_commit=False,
        join_transaction_mode="create_savepoint" if group.members else "rollback_only",
    )
