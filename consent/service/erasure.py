"""Erasing one customer: their key and rows go in one transaction, then their bytes from every file.

What the log holds about them is sealed under their data key, so that destroying the key and the sealed bytes
leaves commitments that nobody can open or guess. A customer who was erased is unknown, and unknown is denied.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from consent.contract import Act
from consent.errors import ConsentError
from consent.log.openings import segment_path
from consent.log.scrubbing import DATABASE, is_pending, request_scrub, scrub_database
from consent.service.cohorts import rebuilt
from consent.service.holding import PURPOSE
from consent.service.logbook import logbook
from consent.service.oversight import participation
from consent.service.work import Unit, Workplace
from consent.store.schema import ChoiceRow, IdempotencyRow, LogEntry, StateRow, SubjectKeyRow
from consent.wire import Erasure, Participation, SubjectRequest

DESTROYED = ("data_key", "salts", "payloads", "choices", "current_state")
REMAINS = ("leaf_hashes", "aggregate_counts", "snapshot_roots", "released_statistics")


def erase(unit: Unit, wanted: SubjectRequest) -> Erasure:
    """Erase a customer and log that it was done, without their name; erasing again changes nothing."""
    unit.lock()
    session, brand, subject = unit.session, wanted.brand, wanted.subject
    choices = list(
        session.scalars(select(ChoiceRow.log_index).where(ChoiceRow.brand == brand, ChoiceRow.subject == subject))
    )
    key_id = session.scalar(
        select(SubjectKeyRow.key_id).where(SubjectKeyRow.brand == brand, SubjectKeyRow.subject == subject)
    )
    if key_id is None:
        return Erasure(log_index=None, entries=0, choices=0, rounds=0, scrubbed=False)
    rounds = participation(session, brand, subject)
    purposes = _granted(session, wanted)
    _forget_requests(session, choices)
    entries = _destroy(session, wanted, key_id)
    index = unit.log("subject_erased", _account(brand, len(entries), len(choices), rounds))
    rebuilt(session, brand, purposes, index)
    request_scrub(session, {DATABASE, *map(segment_path, entries)})
    return Erasure(log_index=index, entries=len(entries), choices=len(choices), rounds=len(rounds), scrubbed=False)


def scrub(work: Workplace) -> bool:
    """Take what was erased out of files; False where a part has to be done later."""
    for step in (work.publish_now, lambda: scrub_database(work.database)):
        try:
            step()
        except (ConsentError, OSError, SQLAlchemyError) as error:
            logbook().error("scrubbing_failed", fault=type(error).__name__)
    with work.reading() as unit:
        return not is_pending(unit.session)


def _granted(session: Session, wanted: SubjectRequest) -> Sequence[str]:
    """Return the purposes whose cohort loses the customer."""
    return session.scalars(
        select(StateRow.scope)
        .where(
            StateRow.brand == wanted.brand,
            StateRow.subject == wanted.subject,
            StateRow.kind == PURPOSE,
            StateRow.act == Act.GRANT.value,
        )
        .order_by(StateRow.scope)
    ).all()


def _destroy(session: Session, wanted: SubjectRequest, key_id: int) -> list[int]:
    """Take away what opens the customer's entries, and their rows; return the entries' indices."""
    sealed = LogEntry.key_id == key_id
    entries = list(session.scalars(select(LogEntry.log_index).where(sealed).order_by(LogEntry.log_index)))
    unsynchronised = {"synchronize_session": False}
    session.execute(
        update(LogEntry).where(sealed).values(payload=None, salt=None, key_id=None),
        execution_options=unsynchronised,
    )
    for table in (ChoiceRow, StateRow, SubjectKeyRow):
        session.execute(
            delete(table).where(table.brand == wanted.brand, table.subject == wanted.subject),
            execution_options=unsynchronised,
        )
    return entries


def _forget_requests(session: Session, choices: Sequence[int]) -> None:
    """Blank the hashes of the batches that named the customer: who knows a batch could confirm it by them."""
    for index in choices:
        latest = (
            select(func.max(IdempotencyRow.first_index))
            .where(IdempotencyRow.first_index <= index)
            .scalar_subquery()
        )
        session.execute(
            update(IdempotencyRow).where(IdempotencyRow.first_index == latest).values(request=None),
            execution_options={"synchronize_session": False},
        )


def _account(brand: str, entries: int, choices: int, rounds: Sequence[Participation]) -> dict[str, Any]:
    return {
        "brand": brand,
        "destroyed": {"what": list(DESTROYED), "entries": entries, "choices": choices},
        "remains": {
            "what": list(REMAINS),
            "leaf_hashes": entries,
            "rounds": [
                {"run_id": one.run_id, "round": one.round, "purpose": one.purpose, "released": one.released}
                for one in rounds
            ],
        },
    }
