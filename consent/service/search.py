"""Searching the log: by customer, brand, kind, round and time; every search is an entry itself.

A page looks at a bounded number of candidates, found through the indexes of the tables that the log speaks
of, and opens those alone. The first page fixes the log's size, so that searching comes to an end.
"""

import base64
import binascii
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple, Self

from sqlalchemy import Select, select, union

from consent.errors import InvalidRequestError, NotFoundError
from consent.log.commitments import Opening, SealedOpening
from consent.log.store import stored
from consent.searching import LogHit, LogPage, LogQuery
from consent.service.reading import key_of, log_about
from consent.service.work import Caller, Unit
from consent.store.schema import ChoiceRow, LogEntry, ReleaseRow, RoundRow, SnapshotRow
from consent.wire import Role, SubjectRequest

SEARCHED = "log_searched"
CANDIDATES = 2_000
"""Entries that one page opens at most."""
TABLES: dict[str, Any] = {
    "choice_recorded": ChoiceRow,
    "snapshot_sealed": SnapshotRow,
    "round_opened": RoundRow,
    "release_committed": ReleaseRow,
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
    def parse(cls, cursor: str) -> Self:
        """Read a cursor.

        Raises:
            InvalidRequestError: this service never gave it.
        """
        try:
            start, end = base64.urlsafe_b64decode(cursor).decode().split(".")
            return cls(int(start), int(end))
        except (binascii.Error, ValueError):
            raise InvalidRequestError("The cursor is not one of this service; begin without one.") from None


def search(unit: Unit, caller: Caller, query: LogQuery) -> LogPage:
    """Return a page of entries, and log that it was looked at.

    Raises:
        InvalidRequestError: a customer without a brand, a round without a run, or a foreign cursor.
        NotFoundError: the caller is a brand and asks about another one.
    """
    query = _permitted(caller, query)
    place = Place.parse(query.cursor) if query.cursor else Place(0, unit.log_size())
    index = _log(unit, query, caller.role)
    found = list(unit.session.scalars(_candidates(query, place)))
    hits: list[LogHit] = []
    for hit in _opened(unit, found):
        if len(hits) == query.limit:
            return LogPage(entries=tuple(hits), cursor=Place(hit.log_index, place.end).cursor(), log_index=index)
        if _fits(query, hit.payload):
            hits.append(hit)
    more = Place(found[-1] + 1, place.end).cursor() if len(found) == CANDIDATES else None
    return LogPage(entries=tuple(hits), cursor=more, log_index=index)


def _permitted(caller: Caller, query: LogQuery) -> LogQuery:
    if query.brand is not None and not caller.may_see(query.brand):
        raise NotFoundError("There is no such brand.")
    if caller.role is Role.BRAND:
        query = query.model_copy(update={"brand": caller.name})
    if query.subject is not None and query.brand is None:
        raise InvalidRequestError("A customer is one of a brand; name the brand as well.")
    if query.round is not None and query.run_id is None:
        raise InvalidRequestError("A round is one of a run; name the run as well.")
    return query


def _log(unit: Unit, query: LogQuery, reader: Role) -> int:
    """Log what was asked, apart from the customer."""
    asked = query.model_dump(mode="json", exclude_none=True, exclude={"subject", "cursor"})
    content = {"asked": asked, "about_a_customer": query.subject is not None, "reader": reader.value}
    if query.subject is None or query.brand is None:
        return unit.log(SEARCHED, content)
    return log_about(unit, SEARCHED, content, SubjectRequest(brand=query.brand, subject=query.subject))


def _candidates(query: LogQuery, place: Place) -> Select[int]:
    """Select the next entries that could fit, by the most selective of what is given."""
    if query.subject is not None and query.brand is not None:
        key = key_of(SubjectRequest(brand=query.brand, subject=query.subject))
        sources = [select(LogEntry.log_index).where(LogEntry.key_id == key.scalar_subquery())]
    elif query.run_id is not None:
        sources = [_of_round(table, query) for table in _tables(query, (RoundRow, ReleaseRow))]
    elif query.brand is not None:
        tables = _tables(query, (ChoiceRow, SnapshotRow))
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


def _of_round(table: Any, query: LogQuery) -> Select[int]:  # noqa: ANN401 - either of two tables
    chosen = select(table.log_index).where(table.run_id == query.run_id)
    return chosen if query.round is None else chosen.where(table.round == query.round)


def _opened(unit: Unit, indices: Sequence[int]) -> list[LogHit]:
    """Open entries; what was erased is left out."""
    openings = [entry.opening for entry in stored(unit.session, indices)]
    sealed = [opening for opening in openings if isinstance(opening, SealedOpening)]
    clear = [opening for opening in openings if isinstance(opening, Opening)]
    clear += unit.keys.vault.open_all(unit.session, sealed)
    clear.sort(key=lambda opening: opening.index)
    return [LogHit(log_index=opening.index, payload=json.loads(opening.payload)) for opening in clear]


def _fits(query: LogQuery, payload: dict[str, Any]) -> bool:
    at = datetime.fromisoformat(payload["recorded_at"])
    return (
        (query.kind is None or payload["kind"] == query.kind)
        and (query.since is None or at >= query.since)
        and (query.until is None or at < query.until)
    )
