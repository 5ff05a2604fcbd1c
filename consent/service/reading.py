"""Reads of what is held about one customer leave an entry, under the customer's own key."""

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Select, select

from consent.log.commitments import Opening, SealedOpening
from consent.log.payloads import Subject
from consent.log.store import stored
from consent.service.work import Unit
from consent.store.schema import LogEntry, SubjectKeyRow
from consent.wire import SubjectRequest


def key_of(wanted: SubjectRequest) -> Select[int]:
    """Select the number of a customer's key; a customer who is not known has none."""
    return select(SubjectKeyRow.key_id).where(
        SubjectKeyRow.brand == wanted.brand, SubjectKeyRow.subject == wanted.subject
    )


def log_about(unit: Unit, kind: str, content: Mapping[str, Any], wanted: SubjectRequest) -> int:
    """Log a look at a customer: a known one is named under their own key, an unknown one nowhere."""
    if unit.session.scalar(key_of(wanted)) is None:
        return unit.log(kind, {**content, "brand": wanted.brand})
    named = {**content, "brand": wanted.brand, "subject": wanted.subject}
    return unit.log(kind, named, subject=Subject(wanted.brand, wanted.subject))


def entries_about(unit: Unit, brand: str, subjects: Iterable[str]) -> list[Opening]:
    """Open every entry about these customers of a brand, in the order of the log."""
    query = (
        select(LogEntry.log_index)
        .join(SubjectKeyRow, SubjectKeyRow.key_id == LogEntry.key_id)
        .where(SubjectKeyRow.brand == brand, SubjectKeyRow.subject.in_(sorted(set(subjects))))
    )
    indices = unit.session.scalars(query).all()
    openings = [entry.opening for entry in stored(unit.session, indices)]
    return unit.keys.vault.open_all(unit.session, [one for one in openings if isinstance(one, SealedOpening)])
