"""The consent service's own functions in one transaction that is never committed, for orders of many acts."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from round_papers import DELTA, NOISE, PURPOSE, attestation_of, digest, manifest_of, release_of, task_of
from secure_papers import masked_task
from sqlalchemy import Connection, select
from sqlalchemy.orm import Session

from consent.contract import (
    Act,
    Choice,
    Notice,
    Participant,
    Purpose,
    RoundManifest,
    RoundRelease,
    Signed,
    SigningKey,
    TaskSpec,
)
from consent.service import create_app, initialise
from consent.service.choices import record
from consent.service.notices import publish
from consent.service.principals import enrol
from consent.service.purposes import declare
from consent.service.snapshots import seal
from consent.service.tasks import approve
from consent.service.work import Caller, Unit, Workplace
from consent.settings import ConsentSettings
from consent.store.schema import SpendRow
from consent.wire import Approval, ChoiceBatch, Enrolment, Role
from privacy.accounting import epsilon

BRANDS = ("acme", "bolt", "crux", "dory")
START = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
COORDINATOR = "coordinator"
Lines = dict[tuple[str, int, str], str]
"""The state of each line of the ledger, by run, round and brand."""


@dataclass(frozen=True)
class LedgerTown:
    """A service with four brands that a task may ask, and a ceiling that so many rounds use up."""

    work: Workplace
    keys: dict[str, SigningKey]
    callers: dict[str, Caller]
    task: TaskSpec
    affordable: int

    @property
    def ceiling(self) -> float:
        return ceiling_of(self.affordable)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        engine = self.work.database.engine
        if engine.dialect.name == "sqlite":
            engine = engine.execution_options(sqlite_begin="IMMEDIATE")
        with engine.connect() as connection, connection.begin() as transaction:
            yield connection
            transaction.rollback()

    @contextmanager
    def unit(self, connection: Connection, seconds: float, *, kept: bool = True) -> Iterator[Unit]:
        """Give a unit at a moment; what it does is taken back at the end unless `kept`, as by a crash."""
        with Session(connection, autoflush=False, join_transaction_mode="create_savepoint") as session:
            now = START + timedelta(seconds=1 + seconds)
            yield Unit(session, now, self.work.keys, timedelta(days=1), secrets.token_bytes)
            if kept:
                session.commit()

    def sealed(self, body: Any, signer: str = COORDINATOR) -> Any:
        return Signed[type(body)].seal(body, self.keys[signer])  # type: ignore[misc]

    def manifest(self, unit: Unit, brands: tuple[str, ...], **changes: Any) -> RoundManifest:
        heads = seal(unit, PURPOSE, brands)
        lines = [
            Participant(brand=brand, key=self.keys[brand].public_key, snapshot=head)
            for brand, head in zip(brands, heads, strict=True)
        ]
        return manifest_of(self.task, lines, unit.now, **{"epsilon_after": 99.0, **changes})

    def release(self, asked: RoundManifest, *brands: str, **changes: Any) -> RoundRelease:
        given = [attestation_of(asked, brand, self.keys[brand]) for brand in brands]
        return release_of([asked], given, **changes)

    def lines(self, unit: Unit) -> Lines:
        rows = unit.session.scalars(select(SpendRow)).all()
        return {(row.run_id, row.round, row.brand): row.state for row in rows}

    def check(self, lines: Lines) -> None:
        """See that no brand's customers are over their ceiling, by arithmetic of its own."""
        for brand in BRANDS:
            counted = [state for (_, _, whose), state in lines.items() if whose == brand and state != "expired"]
            assert epsilon([NOISE] * len(counted), DELTA) <= self.ceiling * (1 + 1e-9), (brand, lines)


def ceiling_of(rounds: int) -> float:
    """Return what so many rounds spend, and not a bit more."""
    return epsilon([NOISE] * rounds, DELTA)


@contextmanager
def ledger_town(folder: Path, url: str, *, masked: bool, affordable: int) -> Iterator[LedgerTown]:
    settings = ConsentSettings(data_dir=folder / "consent", database_url=url)
    initialise(settings, clock=lambda: START)
    work = create_app(settings, clock=lambda: START).state.workplace
    keys = {name: SigningKey.generate() for name in (*BRANDS, COORDINATOR)}
    callers = {
        name: Caller(at, Role.COORDINATOR if name == COORDINATOR else Role.BRAND, name, keys[name].public_key)
        for at, name in enumerate(keys, 2)
    }
    task = masked_task(epsilon=16.0) if masked else task_of(epsilon=16.0)
    with work.writing() as unit:
        _fill(unit, keys, callers, Approval(task=task, ceiling=ceiling_of(affordable), brands=BRANDS))
    try:
        yield LedgerTown(work, keys, callers, task, affordable)
    finally:
        work.close()


def _fill(unit: Unit, keys: dict[str, SigningKey], callers: dict[str, Caller], approval: Approval) -> None:
    for name, caller in callers.items():
        enrol(unit, Enrolment(role=caller.role, name=name, public_key=keys[name].public_key))
    purpose: dict[str, Any] = {"purpose": PURPOSE, "title": PURPOSE, "legal_basis": "consent"}
    declare(unit, Purpose(**purpose, data_categories=("behaviour",), retention_days=30))
    notice = publish(unit, Notice(purpose=PURPOSE, language="en", text="May we?"))
    approve(unit, approval)
    for brand in BRANDS:
        choices = tuple(
            Choice(brand=brand, subject=digest(f"{brand}-{number}"), act=Act.GRANT, purpose=PURPOSE, notice=notice)
            for number in range(4)
        )
        record(unit, callers[brand], ChoiceBatch(idempotency_key=brand, choices=choices))
