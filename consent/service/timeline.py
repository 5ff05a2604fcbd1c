"""Where a time lies in the log, found without walking it: entries bear the service's time, which rises with them.

It does not rise strictly. Requests at once take their time before they take their place, and a clock is set
right now and then. What is found holds as long as no entry is more than `DISORDER` older than one before it.
"""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import Enum, auto

from sqlalchemy import select

from consent.log.commitments import Opening, SealedOpening
from consent.log.store import stored
from consent.searching import LogHit
from consent.service.work import Unit
from consent.store.schema import LogEntry

DISORDER = timedelta(minutes=1)
TOLD = ("kind", "recorded_at", "brand", "run_id", "round")
"""What a closed entry tells."""


class Sight(Enum):
    """What a reader sees of entries about customers."""

    OPEN = auto()
    CLOSED = auto()
    NONE = auto()


def opened(unit: Unit, indices: Sequence[int], *, customers: Sight = Sight.OPEN) -> list[LogHit]:
    """Open entries, in the order of the log; those about customers as `customers` says, and no erased ones."""
    openings = [entry.opening for entry in stored(unit.session, indices)]
    hits = [_hit(opening) for opening in openings if isinstance(opening, Opening)]
    if customers is not Sight.NONE:
        sealed = [opening for opening in openings if isinstance(opening, SealedOpening)]
        closed = customers is Sight.CLOSED
        hits += [_hit(opening, closed=closed) for opening in unit.keys.vault.open_all(unit.session, sealed)]
    return sorted(hits, key=lambda hit: hit.log_index)


def _hit(opening: Opening, *, closed: bool = False) -> LogHit:
    payload = json.loads(opening.payload)
    told = {name: payload[name] for name in TOLD if name in payload} if closed else payload
    return LogHit(log_index=opening.index, payload=told, closed=closed)


def recorded_at(hit: LogHit) -> datetime:
    """Return the service's time of an entry."""
    return datetime.fromisoformat(hit.payload["recorded_at"])


def stretch(unit: Unit, span: range, *, since: datetime | None, until: datetime | None) -> range:
    """Return a part of `span` that holds all of its entries from `since` up to, not including, `until`."""
    start, end = span.start, span.stop
    if since is not None:
        start = _first(unit, range(start, end), since, DISORDER)
    if until is not None:
        end = _first(unit, range(start, end), until, -DISORDER)
    return range(start, end)


def _first(unit: Unit, span: range, instant: datetime, late: timedelta) -> int:
    """Return a place in `span` with an entry before it that is earlier than `instant`, and none such at it.

    An entry counts as `late` later than it says. The next entry that opens speaks for those that were erased.
    """
    low, high = span.start, span.stop
    while low < high:
        middle = (low + high) // 2
        hit = _next(unit, middle, high)
        if hit is not None and recorded_at(hit) + late < instant:
            low = hit.log_index + 1
        else:
            high = middle
    return low


def _next(unit: Unit, start: int, end: int) -> LogHit | None:
    within = (LogEntry.log_index >= start, LogEntry.log_index < end, LogEntry.payload.is_not(None))
    index = unit.session.scalar(select(LogEntry.log_index).where(*within).order_by(LogEntry.log_index).limit(1))
    return None if index is None else opened(unit, [index])[0]
