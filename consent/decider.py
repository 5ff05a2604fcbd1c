"""Deciding in the brand's own process: the consent service's answers, without asking it each time.

A decider allows what a roster says that the service signed, and nothing else. What it hears of meanwhile only
takes away. It denies, with a reason, as soon as it can not know any more whether the service would allow: the
roster is too old, another one is needed, or the service fell silent.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from consent.clock import Clock, utc_now
from consent.contract import Channel, RosterHead
from consent.contract.roster import CHANNEL_BITS, FOREVER, Roster
from consent.deciding import RosterView
from consent.errors import RosterRefusedError
from consent.events import Changed, Event, Position, Renewal, Reset, Withdrawal

CLOCKS_APART = timedelta(minutes=1)
"""How far the brand's clock may be behind the service's."""


class LocalReason(StrEnum):
    """Why a local decision came out as it did."""

    GRANTED = "granted"
    NOT_LISTED = "not_listed"
    """The roster does not have the customer: no grant, or one that does not hold."""
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"
    CHANNEL_NOT_ALLOWED = "channel_not_allowed"
    NO_ROSTER = "no_roster"
    STALE = "stale"
    """The roster is older than it may be."""
    OUT_OF_STEP = "out_of_step"
    """The roster is overtaken by something that nobody knows whom it concerns, or events may be missing."""
    SILENT = "silent"
    """The service was not heard for too long."""


class LocalDecision(NamedTuple):
    """A decision, with the grant that allows it and the size of the log that it stands on."""

    allowed: bool
    reason: LocalReason
    log_index: int | None = None
    notice: str | None = None
    log_size: int = 0


@dataclass(frozen=True)
class DeciderPolicy:
    """How long a brand decides on what it was told.

    Args:
        max_age: of a roster; the service's own limit holds besides.
        max_silence: since the service was heard; None decides without hearing it, until rosters are too old.
    """

    max_age: timedelta
    max_silence: timedelta | None = timedelta(seconds=5)


class _Row(NamedTuple):
    channels: int
    ends: int
    granted: LocalDecision


@dataclass(frozen=True, eq=False)
class _Table:
    head: RosterHead
    rows: dict[str, _Row]
    until: datetime
    until_tick: float


class Decider:
    """Answers for one brand; any thread may ask.

    Args:
        brand: whose customers.
        service_key: the public key under which the service signs, pinned by the brand.
        policy: how long answers are given on what is known.
        clock: the time, with its zone.
        tick: seconds of a clock that never goes back.
    """

    def __init__(
        self,
        brand: str,
        service_key: str,
        policy: DeciderPolicy,
        *,
        clock: Clock = utc_now,
        tick: Callable[[], float] = time.monotonic,
    ) -> None:
        self._brand, self._service_key, self._policy = brand, service_key, policy
        self._silence = None if policy.max_silence is None else policy.max_silence.total_seconds()
        self._clock, self._tick = clock, tick
        self._tables: dict[str, _Table] = {}
        self._withdrawn: dict[tuple[str, str], int] = {}
        self._unreachable: dict[tuple[Channel, str], int] = {}
        self._ends: dict[tuple[str, str], tuple[int, int]] = {}
        self._overtaken: dict[str, int] = {}
        self._complete_from: int | None = None
        self._position: int | None = None
        self._heard = -float("inf")
        self._lock = threading.Lock()

    def decide(self, subject: str, purpose: str, channel: Channel | None = None) -> LocalDecision:
        """Tell whether a purpose may be done for a customer, over a channel if one is named."""
        table = self._tables.get(purpose)
        if table is None:
            return LocalDecision(allowed=False, reason=LocalReason.NO_ROSTER)
        size, tick, now = table.head.log_size, self._tick(), self._clock()
        trouble = self._trouble(table, purpose, tick, now)
        if trouble is not None:
            return LocalDecision(allowed=False, reason=trouble, log_size=size)
        row = table.rows.get(subject)
        if row is None:
            return LocalDecision(allowed=False, reason=LocalReason.NOT_LISTED, log_size=size)
        reason = self._objection(row, subject, purpose, channel, size=size, now=now)
        return row.granted if reason is None else LocalDecision(allowed=False, reason=reason, log_size=size)

    def install(self, view: RosterView) -> None:
        """Decide by a roster from now on; what was heard since it was taken still counts.

        Raises:
            SignatureError: the pinned key has not signed it.
            RosterRefusedError: it is another brand's, altered, older than the one in use, or too old.
        """
        head, roster = view.head.verify(self._service_key), view.roster
        if head.brand != self._brand or roster.rows_digest() != head.rows:
            raise RosterRefusedError("The roster is another brand's, or not what its head was signed for.")
        now = self._clock()
        until = min(head.not_after, head.taken_at + self._policy.max_age)
        if now >= until or head.taken_at > now + CLOCKS_APART:
            raise RosterRefusedError("The roster is too old, or of a time to come; compare both sides' clocks.")
        table = _Table(head, _rows(head, roster), until, self._tick() + (until - now).total_seconds())
        with self._lock:
            known = self._tables.get(head.purpose)
            if known is not None and known.head.log_size > head.log_size:
                raise RosterRefusedError("The roster is older than the one in use; ask for a new one.")
            self._tables[head.purpose] = table
            self._forget()

    def follow(self, size: int) -> None:
        """Take events that begin where the log had `size` entries; no roster from before counts any more."""
        with self._lock:
            self._complete_from = self._position = size

    @property
    def position(self) -> int | None:
        """The size of the log up to which everything was heard; None before `follow`, and after going back."""
        return self._position

    def due(self, purpose: str) -> bool:
        """Tell whether a purpose needs a new roster before anything can be allowed."""
        table = self._tables.get(purpose)
        return table is None or self._trouble(table, purpose, -float("inf"), self._clock()) is not None

    def apply(self, event: Event) -> None:
        """Take an event in; from then on no decision allows what it takes away."""
        with self._lock:
            match event:
                case Withdrawal(purpose=str(purpose)):
                    self._withdrawn[purpose, event.subject] = event.log_index
                case Withdrawal(channel=Channel() as channel):
                    self._unreachable[channel, event.subject] = event.log_index
                case Renewal():
                    self._shorten(event)
                case Changed():
                    known = self._overtaken.get(event.purpose, -1)
                    self._overtaken[event.purpose] = max(known, event.log_index) if event.loses else known
                case Position():
                    self._reach(event.log_size)
                case Reset():
                    self._complete_from = self._position = event.log_size

    def _shorten(self, event: Renewal) -> None:
        """Note an end; of several ones the first counts, for they may be those of customers who are one."""
        key, end = (event.purpose, event.subject), _microseconds(event.ends)
        _, known = self._ends.get(key, (-1, end))
        self._ends[key] = (event.log_index, min(known, end))

    def _reach(self, size: int) -> None:
        """Note a position; one that goes back is of a log that lost entries, of which nothing here is true."""
        if self._position is None or size < self._position:
            self._tables, self._complete_from, self._position = {}, None, None
        else:
            self._position, self._heard = size, self._tick()

    def _trouble(self, table: _Table, purpose: str, tick: float, now: datetime) -> LocalReason | None:
        """Return why a table can not be used at all."""
        size = table.head.log_size
        if now >= table.until or tick >= table.until_tick:
            return LocalReason.STALE
        complete_from, silence = self._complete_from, self._silence
        if complete_from is None and silence is None:
            return None
        if complete_from is None or size < complete_from or self._overtaken.get(purpose, -1) >= size:
            return LocalReason.OUT_OF_STEP
        return LocalReason.SILENT if silence is not None and tick - self._heard > silence else None

    def _objection(
        self, row: _Row, subject: str, purpose: str, channel: Channel | None, *, size: int, now: datetime
    ) -> LocalReason | None:
        """Return why somebody on the roster may not be used all the same."""
        if self._withdrawn.get((purpose, subject), -1) >= size:
            return LocalReason.WITHDRAWN
        ends, renewal = row.ends, self._ends.get((purpose, subject))
        if renewal is not None and renewal[0] >= size:
            ends = min(ends or renewal[1], renewal[1])
        if ends != FOREVER and _microseconds(now) >= ends:
            return LocalReason.EXPIRED
        if channel is not None and (
            not row.channels & CHANNEL_BITS[channel] or self._unreachable.get((channel, subject), -1) >= size
        ):
            return LocalReason.CHANNEL_NOT_ALLOWED
        return None

    def _forget(self) -> None:
        """Drop what all tables know themselves."""
        oldest = min(table.head.log_size for table in self._tables.values())
        self._withdrawn = {key: index for key, index in self._withdrawn.items() if index >= oldest}
        self._unreachable = {key: index for key, index in self._unreachable.items() if index >= oldest}
        self._ends = {key: end for key, end in self._ends.items() if end[0] >= oldest}


def _microseconds(moment: datetime) -> int:
    """Return microseconds since 1970, which a double tells apart until 2106."""
    return round(moment.timestamp() * 1_000_000)


def _rows(head: RosterHead, roster: Roster) -> dict[str, _Row]:
    columns = (roster.subjects, roster.grants, roster.channels, roster.ends, roster.notice)
    return {
        subject: _Row(
            channels,
            ends,
            LocalDecision(True, LocalReason.GRANTED, grant, roster.notices[notice], head.log_size),
        )
        for subject, grant, channels, ends, notice in zip(*columns, strict=True)
    }
