"""The brand's own privacy ledger: reserve before computing, commit with the release, survive any crash.

A line is keyed by what is computed (run, round and the digest of everything that shapes the sum). Messages
arrive at least once, so a committed line keeps the very bytes that were released and gives them again: a
second delivery costs nothing and tells nothing new. A reserved line has released nothing; when the same round
is asked anew in another form, it is superseded, and when its manifest's time is over, it is expired: neither can
be committed any more, and neither counts. All lines of a purpose are composed by one accountant.

In trust mode `distributed` a round has one line whatever its attempts, as at most one of them is ever opened. It
is committed when the first masked sum leaves, and never expires after that.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import (
    Column,
    Connection,
    DateTime,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    Row,
    Select,
    String,
    Table,
    UniqueConstraint,
    select,
)
from sqlalchemy.dialects.sqlite import insert

from client.agent.database import open_database, plain
from client.errors import LedgerRefusalError, StaleRoundError
from consent.clock import Clock, utc_now
from privacy import accounting
from privacy.errors import BudgetExceededError

RESERVED, COMMITTED, SUPERSEDED, EXPIRED = "reserved", "committed", "superseded", "expired"
COUNTED = (RESERVED, COMMITTED)

_METADATA = MetaData()
_LEDGER = Table(
    "ledger",
    _METADATA,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("purpose", String(64), nullable=False, index=True),
    Column("run_id", String(64), nullable=False),
    Column("round", Integer, nullable=False),
    Column("work", String(64), nullable=False),
    Column("noise_multiplier", Float, nullable=False),
    Column("state", String(16), nullable=False),
    Column("payload", LargeBinary),
    Column("reserved_at", DateTime(timezone=True), nullable=False),
    Column("committed_at", DateTime(timezone=True)),
    UniqueConstraint("run_id", "round", "work"),
)
_RESERVATIONS = Table(
    "reservations",
    _METADATA,
    Column("line", Integer, primary_key=True),
    Column("not_after", DateTime, nullable=False),
    Column("stated_at", DateTime),
)


@dataclass(frozen=True)
class Work:
    """What one release is of: the key of its ledger line.

    Attributes:
        purpose: the budget that it spends.
        run_id: the run that asks.
        round: the round that asks.
        digest: SHA-256 over everything that shapes the sum (task, model, snapshot, mechanism).
        noise_multiplier: standard deviation of the noise over the sensitivity.
        not_after: when a reservation of it expires; None for never.
    """

    purpose: str
    run_id: str
    round: int
    digest: str
    noise_multiplier: float
    not_after: datetime | None = None


class Unused(NamedTuple):
    """A round of a run for which nothing left the brand, and nothing will."""

    run_id: str
    round: int
    purpose: str


@dataclass(frozen=True)
class LedgerLine:
    """A line as its user sees it; `payload` is there once it is committed."""

    number: int
    payload: bytes | None

    def released(self) -> bytes:
        """Return the committed bytes.

        Raises:
            LedgerRefusalError: the line has released nothing.
        """
        if self.payload is None:
            raise LedgerRefusalError(f"Ledger line {self.number} has released nothing; ask for the round again.")
        return self.payload


class BrandLedger:
    """The ledger in one SQLite file of the brand; safe against crashes and concurrent callers."""

    def __init__(self, path: Path, *, clock: Clock = utc_now) -> None:
        self.database = open_database(path)
        self._clock = clock
        _METADATA.create_all(self.database)

    def reserve(self, work: Work, *, ceiling: float, delta: float) -> LedgerLine:
        """Reserve the cost of `work`, or find the line that it already has.

        Args:
            work: what will be computed.
            ceiling: most epsilon of the purpose, this release included.
            delta: at this delta.

        Raises:
            LedgerRefusalError: the release would exceed the ceiling; names the last line that counts.
        """
        with self.transaction() as connection:
            self._expire(connection)
            known = _find(connection, work)
            if known is not None and known.state in COUNTED:
                _hold(connection, known.id, work.not_after)
                return LedgerLine(known.id, known.payload)
            _supersede_reserved(connection, work)
            _check_ceiling(connection, work, ceiling=ceiling, delta=delta)
            number = self._insert(connection, work) if known is None else _revive(connection, known)
            _hold(connection, number, work.not_after)
            return LedgerLine(number, None)

    def find_committed(self, work: Work) -> LedgerLine | None:
        """Return the line that already released `work`, if there is one."""
        with self.transaction() as connection:
            known = _find(connection, work)
        if known is None or known.state != COMMITTED:
            return None
        return LedgerLine(known.id, known.payload)

    def commit(self, line: LedgerLine, payload: bytes) -> LedgerLine:
        """Commit a reserved line with the bytes that it releases, and return the line as it now stands.

        A line that another delivery of the same message committed first keeps its bytes: those leave.

        Raises:
            LedgerRefusalError: the line was superseded; nothing may leave.
            StaleRoundError: it expired; nothing may leave.
        """
        with self.transaction() as connection:
            return self._commit(connection, line, payload)

    @contextmanager
    def committing(self, line: LedgerLine) -> Iterator[Connection]:
        """Give a transaction that commits a round's line along with what is written in the block, or nothing.

        What leaves is kept by the block: the line of a masked sum has no bytes of its own.

        Raises:
            LedgerRefusalError: the line was superseded; nothing may leave.
            StaleRoundError: it expired; nothing may leave.
        """
        with self.transaction() as connection:
            self._commit(connection, line, None)
            yield connection

    def unused(self) -> tuple[Unused, ...]:
        """Return the rounds whose reservations all expired, and of which nobody was told yet."""
        with self.transaction() as connection:
            self._expire(connection)
            rows = connection.execute(_unstated()).all()
        return tuple(dict.fromkeys(Unused(row.run_id, row.round, row.purpose) for row in rows))

    def stated(self, unused: Unused) -> None:
        """Keep that the consent service was told of an unused round."""
        lines = select(_LEDGER.c.id).where(_LEDGER.c.run_id == unused.run_id, _LEDGER.c.round == unused.round)
        with self.transaction() as connection:
            connection.execute(
                _RESERVATIONS.update()
                .where(_RESERVATIONS.c.line.in_(lines.where(_LEDGER.c.state == EXPIRED)))
                .values(stated_at=plain(self._clock()))
            )

    def epsilon(self, purpose: str, delta: float) -> float:
        """Return what a customer has spent on a purpose at `delta`, reserved lines included."""
        with self.transaction() as connection:
            return accounting.epsilon([row.noise_multiplier for row in _counted(connection, purpose)], delta)

    def lines(self, purpose: str) -> int:
        """Return how many lines count against a purpose."""
        with self.transaction() as connection:
            return len(_counted(connection, purpose))

    def close(self) -> None:
        """Close the database."""
        self.database.dispose()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Give a connection that holds the write lock; what it wrote is durable once the block ends well."""
        with self.database.begin() as connection:
            yield connection

    def _commit(self, connection: Connection, line: LedgerLine, payload: bytes | None) -> LedgerLine:
        self._expire(connection)
        connection.execute(
            _LEDGER.update()
            .where(_LEDGER.c.id == line.number, _LEDGER.c.state == RESERVED)
            .values(state=COMMITTED, payload=payload, committed_at=self._clock())
        )
        row = connection.execute(_LEDGER.select().where(_LEDGER.c.id == line.number)).one()
        if row.state == EXPIRED:
            raise StaleRoundError(f"Ledger line {line.number} has expired unused; open the round anew.")
        if row.state != COMMITTED:
            raise LedgerRefusalError(f"Ledger line {line.number} was superseded; ask for the round again.")
        return LedgerLine(row.id, row.payload)

    def _expire(self, connection: Connection) -> None:
        """Free what was reserved for manifests whose time is over: no commit finds it reserved any more."""
        over = select(_RESERVATIONS.c.line).where(_RESERVATIONS.c.not_after < plain(self._clock()))
        connection.execute(
            _LEDGER.update().where(_LEDGER.c.state == RESERVED, _LEDGER.c.id.in_(over)).values(state=EXPIRED)
        )

    def _insert(self, connection: Connection, work: Work) -> int:
        inserted = connection.execute(
            _LEDGER.insert().values(
                purpose=work.purpose,
                run_id=work.run_id,
                round=work.round,
                work=work.digest,
                noise_multiplier=work.noise_multiplier,
                state=RESERVED,
                reserved_at=self._clock(),
            )
        )
        return int(inserted.inserted_primary_key[0])  # type: ignore[index]


def _find(connection: Connection, work: Work) -> Row[Any] | None:
    return connection.execute(
        _LEDGER.select().where(
            _LEDGER.c.run_id == work.run_id, _LEDGER.c.round == work.round, _LEDGER.c.work == work.digest
        )
    ).one_or_none()


def _supersede_reserved(connection: Connection, work: Work) -> None:
    """Free what the same round reserved in another form: it has released nothing and now never will."""
    connection.execute(
        _LEDGER.update()
        .where(_LEDGER.c.run_id == work.run_id, _LEDGER.c.round == work.round, _LEDGER.c.state == RESERVED)
        .values(state=SUPERSEDED)
    )


def _counted(connection: Connection, purpose: str) -> list[Row[Any]]:
    query = _LEDGER.select().where(_LEDGER.c.purpose == purpose, _LEDGER.c.state.in_(COUNTED))
    return list(connection.execute(query.order_by(_LEDGER.c.id)))


def _check_ceiling(connection: Connection, work: Work, *, ceiling: float, delta: float) -> None:
    counted = _counted(connection, work.purpose)
    spent = accounting.epsilon([*(row.noise_multiplier for row in counted), work.noise_multiplier], delta)
    try:
        accounting.check_within(spent, ceiling, population=f"purpose {work.purpose!r}")
    except BudgetExceededError as error:
        last = f"ledger line {counted[-1].id}" if counted else "an empty ledger"
        raise LedgerRefusalError(f"Refused after {last}: {error}") from None


def _revive(connection: Connection, known: Row[Any]) -> int:
    connection.execute(_LEDGER.update().where(_LEDGER.c.id == known.id).values(state=RESERVED))
    return int(known.id)


def _hold(connection: Connection, line: int, not_after: datetime | None) -> None:
    """Let a reservation last for the manifest that asks for it now."""
    if not_after is None:
        return
    values = {"not_after": plain(not_after), "stated_at": None}
    statement = insert(_RESERVATIONS).values(line=line, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["line"], set_=values))


def _unstated() -> Select[Any]:
    """Select expired lines that were not stated, of rounds in which no line counts."""
    counts = _LEDGER.alias("counts")
    beside = (
        select(counts.c.id)
        .where(counts.c.run_id == _LEDGER.c.run_id, counts.c.round == _LEDGER.c.round)
        .where(counts.c.state.in_(COUNTED))
    )
    return (
        select(_LEDGER)
        .join(_RESERVATIONS, _RESERVATIONS.c.line == _LEDGER.c.id)
        .where(_LEDGER.c.state == EXPIRED, _RESERVATIONS.c.stated_at.is_(None), ~beside.exists())
        .order_by(_LEDGER.c.id)
    )
