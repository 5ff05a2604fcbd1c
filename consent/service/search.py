"""Searching the log: by customer, brand, kind, round and time; every search is an entry itself.

A page looks at a bounded number of candidates, found through the indexes of the tables that the log speaks
of, and opens those alone. A kind that no table lists is looked for entry by entry. The first page fixes the
part of the log that is searched, by its size and by the times asked for, so that searching comes to an end.

Entries about customers are opened one named customer at a time, so that every such look is an entry under the
customer's own key: for an officer with a request that another officer approved, for a brand about its own. In all
other searches they tell what happened and when, and not to whom.
"""

import base64
import binascii
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

from sqlalchemy import Select, select, tuple_, union

from consent.errors import ForbiddenError, InvalidRequestError, NotFoundError
from consent.rights import AccessRequest
from consent.searching import LogHit, LogPage, LogQuery
from consent.service import rights
from consent.service.reading import key_of, log_about
from consent.service.timeline import Sight, opened, recorded_at, stretch
from consent.service.work import Caller, Unit
from consent.store.customers import SignalRow
from consent.store.schema import ChoiceRow, LogEntry, ReleaseRow, RoundRow, RoundSnapshotRow, SnapshotRow
from consent.wire import Role, SubjectRequest

SEARCHED = "log_searched"
CANDIDATES = 2_000
"""Entries that one page opens at most."""
TABLES: dict[str, Any] = {
    "choice_recorded": ChoiceRow,
    "snapshot_sealed": SnapshotRow,
    "round_opened": RoundRow,
    "release_committed": ReleaseRow,
    "signal_honoured": SignalRow,
    "consent_string_imported": SignalRow,
}
"""Kinds whose entries a table lists."""


class Place(NamedTuple):
    """From which entry on, and up to which size of the log, a search goes on."""

    start: int
    end: int

    def cursor(self) -> str:
        """Write it as text that nobody need read."""
        return base64.urlsafe_b64encode(f"{self.start}.{self.end}".encode()).decode()

    @classmethod
    def parse(cls, cursor: str, size: int) -> Self:
        """Read a cursor into a log of this size.

        Raises:
            InvalidRequestError: this service never gave it.
        """
        try:
            start, end = map(int, base64.urlsafe_b64decode(cursor).decode().split("."))
        except (binascii.Error, ValueError):
            start, end = size, -1
        if not 0 <= start <= end <= size:
            raise InvalidRequestError("The cursor is not one of this service; begin without one.")
        return cls(start, end)


def search(unit: Unit, caller: Caller, query: LogQuery) -> LogPage:
    """Return a page of entries, and log that it was looked at.

    Raises:
        InvalidRequestError: a customer without a brand, a request without a customer, a round without a run, or a
            foreign cursor.
        NotFoundError: the caller is of a brand and asks about another one.
        ForbiddenError: an auditor asks about a customer, or an officer does without an approved request.
    """
    query = _permitted(unit, caller, query)
    place = _place(unit, query)
    index = _log(unit, query, caller.role)
    found = list(unit.session.scalars(_candidates(query, place, caller.brand)))
    hits: list[LogHit] = []
    rest = found[-1] + 1 if len(found) == CANDIDATES else place.end
    for hit in opened(unit, found, customers=_sight(caller, query)):
        if len(hits) == query.limit:
            rest = hit.log_index
            break
        if _fits(query, hit):
            hits.append(hit)
    cursor = Place(rest, place.end).cursor() if rest < place.end else None
    return LogPage(entries=tuple(hits), complete=cursor is None, cursor=cursor, log_index=index)


def _place(unit: Unit, query: LogQuery) -> Place:
    size = unit.log_size()
    if query.cursor is not None:
        return Place.parse(query.cursor, size)
    part = stretch(unit, range(size), since=query.since, until=query.until)
    return Place(part.start, part.stop)


def _permitted(unit: Unit, caller: Caller, query: LogQuery) -> LogQuery:
    if query.brand is not None and not caller.may_see(query.brand):
        raise NotFoundError("There is no such brand.")
    if caller.brand is not None:
        query = query.model_copy(update={"brand": caller.brand})
    if query.round is not None and query.run_id is None:
        raise InvalidRequestError("A round is one of a run; name the run as well.")
    if query.subject is None:
        if query.request_id is not None:
            raise InvalidRequestError("A request is about one customer; name brand and customer as well.")
        return query
    if query.brand is None:
        raise InvalidRequestError("A customer is one of a brand; name the brand as well.")
    wanted = AccessRequest(brand=query.brand, subject=query.subject, request_id=query.request_id)
    _require_reason(unit, caller, wanted)
    return query


def _require_reason(unit: Unit, caller: Caller, wanted: AccessRequest) -> None:
    """Refuse to open a customer's entries for who may not see them, or not alone."""
    if caller.role is Role.AUDITOR:
        raise ForbiddenError("No customer's entries are opened for an auditor; leave the customer out.")
    if caller.role is Role.OFFICER:
        rights.require_approved_by_officer(unit, caller, wanted)
    elif wanted.request_id is not None:
        raise InvalidRequestError("Only an officer's look at a customer rests on a request; leave it out.")


def _sight(caller: Caller, query: LogQuery) -> Sight:
    """Return what is shown of customers; one who is named may be seen, as `_permitted` found."""
    if caller.role is Role.AUDITOR:
        return Sight.NONE
    return Sight.CLOSED if query.subject is None else Sight.OPEN


def _log(unit: Unit, query: LogQuery, reader: Role) -> int:
    """Log what was asked, apart from the customer."""
    asked = query.model_dump(mode="json", exclude_none=True, exclude={"subject", "cursor"})
    content = {"asked": asked, "about_a_customer": query.subject is not None, "reader": reader.value}
    if query.subject is None or query.brand is None:
        return unit.log(SEARCHED, content)
    return log_about(unit, SEARCHED, content, SubjectRequest(brand=query.brand, subject=query.subject))


def _candidates(query: LogQuery, place: Place, reader: str | None) -> Select[int]:
    """Select the next entries that could fit, by the most selective of what is given; `reader` is of one brand."""
    if query.subject is not None and query.brand is not None:
        key = key_of(SubjectRequest(brand=query.brand, subject=query.subject))
        sources = [select(LogEntry.log_index).where(LogEntry.key_id == key.scalar_subquery())]
    elif query.run_id is not None:
        sources = [_of_round(table, query, reader) for table in _tables(query, (RoundRow, ReleaseRow))]
    elif query.brand is not None:
        tables = _tables(query, (ChoiceRow, SnapshotRow, SignalRow))
        sources = [select(table.log_index).where(table.brand == query.brand) for table in tables]
    else:
        sources = [select(table.log_index) for table in _tables(query, (LogEntry,))]
    bounded = [
        source.where(column >= place.start, column < place.end).order_by(column).limit(CANDIDATES).subquery()
        for source in sources
        for column in source.selected_columns
    ]
    merged = union(*(select(each.c.log_index) for each in bounded)).subquery()
    return select(merged.c.log_index).order_by(merged.c.log_index).limit(CANDIDATES)


def _tables(query: LogQuery, tables: Sequence[Any]) -> Sequence[Any]:
    """Narrow tables down to the one that lists the kind asked for, where there is one."""
    listed = TABLES.get(query.kind or "")
    return [listed] if listed is not None and (listed in tables or tables == (LogEntry,)) else tables


def _of_round(table: Any, query: LogQuery, reader: str | None) -> Select[int]:  # noqa: ANN401 - either of two tables
    """Select a run's entries; a brand finds those of the rounds that it was asked for."""
    chosen = select(table.log_index).where(table.run_id == query.run_id)
    if query.round is not None:
        chosen = chosen.where(table.round == query.round)
    if reader is not None:
        asked = (
            select(RoundRow.run_id, RoundRow.round).join(RoundSnapshotRow).where(RoundSnapshotRow.brand == reader)
        )
        chosen = chosen.where(tuple_(table.run_id, table.round).in_(asked))
    return chosen


def _fits(query: LogQuery, hit: LogHit) -> bool:
    at = recorded_at(hit)
    return (
        (query.kind is None or hit.payload["kind"] == query.kind)
        and (query.since is None or at >= query.since)
        and (query.until is None or at < query.until)
    )
