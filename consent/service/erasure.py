"""Erasing one customer: their key and rows go in one transaction, then their bytes from every file.

What the log holds about them is sealed under their data key, so that destroying the key and the sealed bytes
leaves commitments that nobody can open or guess. A customer who was erased is unknown, and unknown is denied.
The tokens with which they acted for themselves end with it.
"""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Delete, Update, case, delete, func, or_, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from consent.errors import ConsentError
from consent.log.openings import segment_path
from consent.log.scrubbing import DATABASE, is_pending, request_scrub, scrub_database
from consent.rights import RequestState
from consent.service.cohorts import rebuilt
from consent.service.holding import PURPOSE
from consent.service.lineage import trained
from consent.service.logbook import logbook
from consent.service.merges import groups_of
from consent.service.oversight import participation_of_all
from consent.service.remedies import open_remedies
from consent.service.work import Unit, Workplace
from consent.store.callers import SubjectTokenRow
from consent.store.customers import ConfirmationRow, GuardianRow, MergeRow, RightsRequestRow, SignalRow
from consent.store.schema import ChoiceRow, IdempotencyRow, LogEntry, StateRow, SubjectKeyRow
from consent.wire import Erasure, Participation, SubjectRequest

DESTROYED = ("data_key", "salts", "payloads", "choices", "current_state")
NAMING_ONE_CUSTOMER = (ChoiceRow, StateRow, ConfirmationRow, SignalRow, GuardianRow, SubjectKeyRow)
"""Tables whose rows each are about the customer in their column `subject`."""
UNDECIDED = (RequestState.PENDING.value, RequestState.APPROVED.value)
ERASED_GUARDIAN = "0" * 64
"""Stands for a guardian who was erased; it is nobody's pseudonym."""
REMAINS = ("leaf_hashes", "aggregate_counts", "snapshot_roots", "released_statistics")


def erase(unit: Unit, wanted: SubjectRequest) -> Erasure:
    """Erase a customer and log that it was done, without their name; erasing again changes nothing.

    All pseudonyms that are merged with the one named are that customer, and go with it: with one half gone, a
    denial that it alone stood for would be gone as well.
    """
    unit.lock()
    session, brand = unit.session, wanted.brand
    pseudonyms = groups_of(session, brand, {wanted.subject}).get(wanted.subject, (wanted.subject,))
    _forget_rights_requests(session, brand, pseudonyms)
    ended = _end_tokens(session, brand, pseudonyms)
    keys = list(session.scalars(select(SubjectKeyRow.key_id).where(*_of(SubjectKeyRow, brand, pseudonyms))))
    if not keys:
        if ended:
            request_scrub(session, {DATABASE})
        return Erasure(log_index=None, entries=0, choices=0, rounds=0, scrubbed=False)
    choices = list(session.scalars(select(ChoiceRow.log_index).where(*_of(ChoiceRow, brand, pseudonyms))))
    rounds = participation_of_all(unit, brand, pseudonyms)
    purposes = _chosen(session, brand, pseudonyms)
    sealed = select(LogEntry.log_index).where(LogEntry.key_id.in_(keys)).order_by(LogEntry.log_index)
    entries = list(session.scalars(sealed))
    _forget_requests(session, entries)
    _destroy(session, brand, pseudonyms, keys)
    index = unit.log("subject_erased", _account(brand, len(entries), len(choices), rounds))
    rebuilt(session, brand, purposes, index)
    open_remedies(unit, brand, {one.run_id: one for one in trained(rounds)}, index)
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


def _of(table: type[Any], brand: str, pseudonyms: Collection[str]) -> tuple[ColumnElement[bool], ...]:
    return table.brand == brand, table.subject.in_(pseudonyms)


def _chosen(session: Session, brand: str, pseudonyms: Collection[str]) -> set[str]:
    """Return the purposes that the customer chose about.

    Also those that they withdrew: who has not read of that yet will find no choice that tells of it.
    """
    about = (*_of(StateRow, brand, pseudonyms), StateRow.kind == PURPOSE)
    return set(session.scalars(select(StateRow.scope).where(*about)))


def _destroy(session: Session, brand: str, pseudonyms: Collection[str], keys: Collection[int]) -> None:
    """Take away what opens the customer's entries, and their rows."""
    sealed = LogEntry.key_id.in_(keys)
    _run(session, update(LogEntry).where(sealed).values(payload=None, salt=None, key_id=None))
    for table in NAMING_ONE_CUSTOMER:
        _run(session, delete(table).where(*_of(table, brand, pseudonyms)))
    ends = or_(MergeRow.one.in_(pseudonyms), MergeRow.other.in_(pseudonyms))
    _run(session, delete(MergeRow).where(MergeRow.brand == brand, ends))
    _forget_guardian(session, brand, pseudonyms)


def _forget_guardian(session: Session, brand: str, pseudonyms: Collection[str]) -> None:
    """Take a guardian's name from what they answered for; a ward without one could grant for themselves."""
    guarded = GuardianRow.brand == brand, GuardianRow.guardian.in_(pseudonyms)
    _run(session, update(GuardianRow).where(*guarded).values(guardian=ERASED_GUARDIAN))
    granted = ChoiceRow.brand == brand, ChoiceRow.guardian.in_(pseudonyms)
    _run(session, update(ChoiceRow).where(*granted).values(guardian=ERASED_GUARDIAN))


def _forget_rights_requests(session: Session, brand: str, pseudonyms: Collection[str]) -> None:
    """Leave of requests that they were made; those that nobody decided can not be decided any more."""
    theirs = _of(RightsRequestRow, brand, pseudonyms)
    ended = case((RightsRequestRow.state.in_(UNDECIDED), RequestState.EXPIRED.value), else_=RightsRequestRow.state)
    _run(session, update(RightsRequestRow).where(*theirs).values(subject=None, state=ended))


def _end_tokens(session: Session, brand: str, pseudonyms: Collection[str]) -> bool:
    """End the customer's tokens, who may have some without being known; tell whether there were any."""
    theirs = _of(SubjectTokenRow, brand, pseudonyms)
    ended = session.scalar(select(func.count()).select_from(SubjectTokenRow).where(*theirs))
    _run(session, delete(SubjectTokenRow).where(*theirs))
    return bool(ended)


def _forget_requests(session: Session, entries: Sequence[int]) -> None:
    """Blank what is kept of the requests that made these entries: who knows a request could confirm it by that.

    An entry that no such request made takes the request before it along, which is then only refused when repeated.
    """
    latest = func.max(IdempotencyRow.first_index)
    places = {session.scalar(select(latest).where(IdempotencyRow.first_index <= index)) for index in entries}
    made = IdempotencyRow.first_index.in_(places - {None})
    _run(session, update(IdempotencyRow).where(made).values(request=None, response=b""))


def _run(session: Session, statement: Update | Delete) -> None:
    session.execute(statement, execution_options={"synchronize_session": False})


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
