"""The brand's own privacy ledger: reserve before computing, commit with the release, survive any crash.

A line is keyed by what is computed (run, round and the digest of everything that shapes the sum). Messages
arrive at least once, so a committed line keeps the very bytes that were released and gives them again: a
second delivery costs nothing and tells nothing new. A reserved line has released nothing; when the same round
is asked anew in another form, it is superseded. All lines of a purpose are composed by one accountant.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    DateTime,
    Engine,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    Row,
    String,
    Table,
    UniqueConstraint,
    create_engine,
    event,
)

from client.errors import LedgerRefusalError
from privacy import accounting
from privacy.errors import BudgetExceededError

RESERVED, COMMITTED, SUPERSEDED = "reserved", "committed", "superseded"

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


@dataclass(frozen=True)
class Work:
    """What one release is of: the key of its ledger line.

    Attributes:
        purpose: the budget that it spends.
        run_id: the run that asks.
        round: the round that asks.
        digest: SHA-256 over everything that shapes the sum (task, model, snapshot, mechanism).
        noise_multiplier: standard deviation of the noise over the sensitivity.
    """

    purpose: str
    run_id: str
    round: int
    digest: str
    noise_multiplier: float


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

    def __init__(self, path: Path) -> None:
        self._engine = _open(path)
        _METADATA.create_all(self._engine)

    def reserve(self, work: Work, *, ceiling: float, delta: float) -> LedgerLine:
        """Reserve the cost of `work`, or find the line that it already has.

        Args:
            work: what will be computed.
            ceiling: most epsilon of the purpose, this release included.
            delta: at this delta.

        Raises:
            LedgerRefusalError: the release would exceed the ceiling; names the last line that counts.
        """
        with self._transaction() as connection:
            known = _find(connection, work)
            if known is not None and known.state != SUPERSEDED:
                return LedgerLine(known.id, known.payload)
            _supersede_reserved(connection, work)
            _check_ceiling(connection, work, ceiling=ceiling, delta=delta)
            if known is not None:
                connection.execute(_LEDGER.update().where(_LEDGER.c.id == known.id).values(state=RESERVED))
                return LedgerLine(known.id, None)
            return LedgerLine(_insert(connection, work), None)

    def find_committed(self, work: Work) -> LedgerLine | None:
        """Return the line that already released `work`, if there is one."""
        with self._transaction() as connection:
            known = _find(connection, work)
        if known is None or known.state != COMMITTED:
            return None
        return LedgerLine(known.id, known.payload)

    def commit(self, line: LedgerLine, payload: bytes) -> LedgerLine:
        """Commit a reserved line with the bytes that it releases, and return the line as it now stands.

        A line that another delivery of the same message committed first keeps its bytes: those leave.

        Raises:
            LedgerRefusalError: the line was superseded; nothing may leave.
        """
        with self._transaction() as connection:
            connection.execute(
                _LEDGER.update()
                .where(_LEDGER.c.id == line.number, _LEDGER.c.state == RESERVED)
                .values(state=COMMITTED, payload=payload, committed_at=datetime.now(UTC))
            )
            row = connection.execute(_LEDGER.select().where(_LEDGER.c.id == line.number)).one()
            if row.state != COMMITTED:
                raise LedgerRefusalError(f"Ledger line {line.number} was superseded; ask for the round again.")
            return LedgerLine(row.id, row.payload)

    def epsilon(self, purpose: str, delta: float) -> float:
        """Return what a customer has spent on a purpose at `delta`, reserved lines included."""
        with self._transaction() as connection:
            return accounting.epsilon([row.noise_multiplier for row in _counted(connection, purpose)], delta)

    def lines(self, purpose: str) -> int:
        """Return how many lines count against a purpose."""
        with self._transaction() as connection:
            return len(_counted(connection, purpose))

    def close(self) -> None:
        """Close the database."""
        self._engine.dispose()

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with self._engine.begin() as connection:
            yield connection


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
    query = _LEDGER.select().where(_LEDGER.c.purpose == purpose, _LEDGER.c.state != SUPERSEDED)
    return list(connection.execute(query.order_by(_LEDGER.c.id)))


def _check_ceiling(connection: Connection, work: Work, *, ceiling: float, delta: float) -> None:
    counted = _counted(connection, work.purpose)
    spent = accounting.epsilon([*(row.noise_multiplier for row in counted), work.noise_multiplier], delta)
    try:
        accounting.check_within(spent, ceiling, population=f"purpose {work.purpose!r}")
    except BudgetExceededError as error:
        last = f"ledger line {counted[-1].id}" if counted else "an empty ledger"
        raise LedgerRefusalError(f"Refused after {last}: {error}") from None


def _insert(connection: Connection, work: Work) -> int:
    inserted = connection.execute(
        _LEDGER.insert().values(
            purpose=work.purpose,
            run_id=work.run_id,
            round=work.round,
            work=work.digest,
            noise_multiplier=work.noise_multiplier,
            state=RESERVED,
            reserved_at=datetime.now(UTC),
        )
    )
    return int(inserted.inserted_primary_key[0])  # type: ignore[index]


def _open(path: Path) -> Engine:
    """Open the file with write-ahead logging, full durability, and the write lock at every BEGIN."""
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 30})

    @event.listens_for(engine, "connect")
    def _durable(connection: Any, _record: Any) -> None:  # noqa: ANN401 - the driver's own types
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")

    @event.listens_for(engine, "begin")
    def _lock(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine
