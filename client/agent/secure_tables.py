"""The runs of trust mode `distributed` in the agent's own file, beside its ledger.

A run that is over keeps its row without its secrets, so that it is never set up again; so do its slots without
their masked sums, so that nothing is masked or opened twice.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    DateTime,
    Engine,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Row,
    String,
    Table,
    UniqueConstraint,
    func,
    select,
)

from client.agent.database import plain
from consent.contract import RunSetup
from privacy.secure_sum import MemberState, Slot, Stage

_METADATA = MetaData()
_RUNS = Table(
    "secure_runs",
    _METADATA,
    Column("run_id", String(64), primary_key=True),
    Column("setup", LargeBinary, nullable=False),
    Column("not_after", DateTime, nullable=False),
    Column("secrets", LargeBinary),
)
_SLOTS = Table(
    "secure_slots",
    _METADATA,
    Column("run_id", String(64), primary_key=True),
    Column("slot", Integer, primary_key=True),
    Column("round", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("manifest", String(64), nullable=False),
    Column("asked", String(64), nullable=False),
    Column("present", String, nullable=False),
    Column("opened_at", DateTime, nullable=False),
    Column("not_after", DateTime, nullable=False),
    Column("line", Integer, nullable=False),
    Column("payload", LargeBinary),
    Column("closing", String(64)),
    Column("arrived", String),
    UniqueConstraint("run_id", "round", "attempt"),
)
Index(
    "one_opened_attempt", _SLOTS.c.run_id, _SLOTS.c.round, unique=True, sqlite_where=_SLOTS.c.closing.is_not(None)
)


@dataclass(frozen=True)
class KeptRun:
    """A run that the agent joined; `state` is None once it is over."""

    setup: RunSetup
    state: MemberState | None


@dataclass(frozen=True)
class MaskedSlot:
    """A slot in which the agent masked a sum.

    Attributes:
        slot: its number.
        round: the round of the manifest.
        attempt: which attempt at it.
        manifest: digest of the manifest.
        asked: digest of what the round computes, the same for all its attempts.
        present: the manifest's brands.
        opened_at: when the manifest was opened.
        not_after: until when it held.
        line: the round's ledger line.
        payload: the masked sum, little-endian; None once a later one took its place or the run is over.
        closing: digest of the closing that was answered, if one was.
        arrived: the brands that it names as arrived.
    """

    slot: int
    round: int
    attempt: int
    manifest: str
    asked: str
    present: frozenset[str]
    opened_at: datetime
    not_after: datetime
    line: int
    payload: bytes | None
    closing: str | None = None
    arrived: frozenset[str] = frozenset()

    @property
    def used(self) -> Slot:
        """The slot as the secure sum knows it."""
        stage = Stage.MASKED if self.closing is None else Stage.OPENED
        return Slot(stage, bytes.fromhex(self.manifest), self.present, self.arrived)


def create_tables(database: Engine) -> None:
    """Create the tables that are not there yet."""
    _METADATA.create_all(database)


def find_run(connection: Connection, run_id: str) -> KeptRun | None:
    """Return a run that the agent joined."""
    row = connection.execute(_RUNS.select().where(_RUNS.c.run_id == run_id)).one_or_none()
    if row is None:
        return None
    state = None if row.secrets is None else MemberState.from_bytes(row.secrets)
    return KeptRun(RunSetup.model_validate_json(row.setup), state)


def add_run(connection: Connection, setup: RunSetup, state: MemberState) -> None:
    """Keep a run that the agent joins."""
    connection.execute(
        _RUNS.insert().values(
            run_id=setup.run_id,
            setup=setup.model_dump_json().encode(),
            not_after=plain(setup.not_after),
            secrets=state.to_bytes(),
        )
    )


def save_state(connection: Connection, run_id: str, state: MemberState) -> bool:
    """Keep what the agent now has of a run; False when the run is over."""
    running = (_RUNS.c.run_id == run_id, _RUNS.c.secrets.is_not(None))
    saved = connection.execute(_RUNS.update().where(*running).values(secrets=state.to_bytes()))
    return saved.rowcount == 1


def is_running(connection: Connection, run_id: str) -> bool:
    """Return whether the agent still has the secrets of a run."""
    running = (_RUNS.c.run_id == run_id, _RUNS.c.secrets.is_not(None))
    return connection.execute(select(func.count()).select_from(_RUNS).where(*running)).scalar_one() == 1


def runs_over(connection: Connection, now: datetime) -> list[str]:
    """Return the runs whose secrets are still there although their time is over."""
    over = (_RUNS.c.not_after < plain(now), _RUNS.c.secrets.is_not(None))
    return list(connection.execute(select(_RUNS.c.run_id).where(*over)).scalars())


def forget_secrets(connection: Connection, runs: Iterable[str]) -> None:
    """Delete what could open or mask anything of runs that are over."""
    names = list(runs)
    connection.execute(_RUNS.update().where(_RUNS.c.run_id.in_(names)).values(secrets=None))
    connection.execute(_SLOTS.update().where(_SLOTS.c.run_id.in_(names)).values(payload=None))


def find_slots(connection: Connection, run_id: str) -> Mapping[int, MaskedSlot]:
    """Return the slots that were used in a run."""
    rows = connection.execute(_SLOTS.select().where(_SLOTS.c.run_id == run_id).order_by(_SLOTS.c.slot))
    return {row.slot: _masked(row) for row in rows}


def find_masked(connection: Connection, run_id: str, manifest: str) -> MaskedSlot | None:
    """Return the slot in which a manifest was answered."""
    known = (_SLOTS.c.run_id == run_id, _SLOTS.c.manifest == manifest)
    row = connection.execute(_SLOTS.select().where(*known)).one_or_none()
    return None if row is None else _masked(row)


def find_latest(connection: Connection, run_id: str, number: int | None = None) -> MaskedSlot | None:
    """Return the last attempt that was masked of a round, or of the run's last round."""
    query = _SLOTS.select().where(_SLOTS.c.run_id == run_id)
    if number is not None:
        query = query.where(_SLOTS.c.round == number)
    row = connection.execute(query.order_by(_SLOTS.c.round.desc(), _SLOTS.c.attempt.desc()).limit(1)).one_or_none()
    return None if row is None else _masked(row)


def is_used(connection: Connection, run_id: str, slot: int) -> bool:
    """Return whether something was masked in a slot."""
    known = (_SLOTS.c.run_id == run_id, _SLOTS.c.slot == slot)
    return connection.execute(select(func.count()).select_from(_SLOTS).where(*known)).scalar_one() == 1


def add_slot(connection: Connection, run_id: str, masked: MaskedSlot) -> None:
    """Keep a masked sum; those before it in the run are given out no more."""
    connection.execute(_SLOTS.update().where(_SLOTS.c.run_id == run_id).values(payload=None))
    connection.execute(
        _SLOTS.insert().values(
            run_id=run_id,
            slot=masked.slot,
            round=masked.round,
            attempt=masked.attempt,
            manifest=masked.manifest,
            asked=masked.asked,
            present=_names(masked.present),
            opened_at=plain(masked.opened_at),
            not_after=plain(masked.not_after),
            line=masked.line,
            payload=masked.payload,
        )
    )


def mark_opened(connection: Connection, run_id: str, slot: int, closing: str, arrived: Iterable[str]) -> None:
    """Keep that a slot's sum was helped open, and for whom."""
    place = (_SLOTS.c.run_id == run_id, _SLOTS.c.slot == slot)
    connection.execute(_SLOTS.update().where(*place).values(closing=closing, arrived=_names(arrived)))


def _masked(row: Row[Any]) -> MaskedSlot:
    return MaskedSlot(
        slot=row.slot,
        round=row.round,
        attempt=row.attempt,
        manifest=row.manifest,
        asked=row.asked,
        present=frozenset(json.loads(row.present)),
        opened_at=row.opened_at.replace(tzinfo=UTC),
        not_after=row.not_after.replace(tzinfo=UTC),
        line=row.line,
        payload=row.payload,
        closing=row.closing,
        arrived=frozenset(json.loads(row.arrived or "[]")),
    )


def _names(names: Iterable[str]) -> str:
    return json.dumps(sorted(names))
