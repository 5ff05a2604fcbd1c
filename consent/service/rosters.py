"""Making a brand's roster: everybody whose grant of a purpose holds now, as decisions would answer, and signed."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import select

from consent.contract import Act, Channel, Roster, RosterHead, Signed
from consent.contract.roster import CHANNEL_BITS, FOREVER
from consent.deciding import RosterView
from consent.log.store import read_head
from consent.service.holding import (
    CHANNEL,
    PURPOSE,
    holdings,
    replaced_notices,
    why_not,
)
from consent.service.merges import groups_of
from consent.service.purposes import require_purposes
from consent.service.standing import Standing
from consent.service.work import Unit
from consent.store.schema import StateRow

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


class _Row(NamedTuple):
    subject: str
    grant: int
    channels: int
    ends: datetime | None
    notice: str


def take(unit: Unit, brand: str, purpose: str) -> RosterView:
    """Return the roster of a brand for a purpose as of now; it holds as long as a snapshot would.

    Raises:
        UnknownPurposeError: the purpose is not declared.
    """
    require_purposes(unit, {purpose})
    roster = _columns(sorted(_rows(unit, brand, purpose)))
    head = RosterHead(
        brand=brand,
        purpose=purpose,
        rows=roster.rows_digest(),
        log_size=read_head(unit.session).size,
        taken_at=unit.now,
        not_after=unit.now + unit.snapshot_validity,
    )
    return RosterView(head=Signed[RosterHead].seal(head, unit.keys.snapshots), roster=roster)


def _columns(rows: list[_Row]) -> Roster:
    notices = sorted({row.notice for row in rows})
    places = {notice: place for place, notice in enumerate(notices)}
    return Roster(
        subjects=tuple(row.subject for row in rows),
        grants=tuple(row.grant for row in rows),
        channels=tuple(row.channels for row in rows),
        ends=tuple(_microseconds(row.ends) for row in rows),
        notices=tuple(notices),
        notice=tuple(places[row.notice] for row in rows),
    )


def _microseconds(end: datetime | None) -> int:
    return FOREVER if end is None else (end - EPOCH) // MICROSECOND


def _rows(unit: Unit, brand: str, purpose: str) -> Iterator[_Row]:
    groups = groups_of(unit.session, brand)
    channels = _channels(unit, brand)
    replaced = replaced_notices(unit.session)
    for subject, standing in _granted(unit, brand, purpose):
        alone = subject not in groups
        if alone and standing.notice and why_not(standing, purpose, unit.now, replaced) is None:
            reach = channels.get(subject, 0)
            yield _Row(subject, standing.log_index, reach, standing.expires_at, standing.notice)
    yield from _merged(unit, brand, purpose, groups)


def _merged(unit: Unit, brand: str, purpose: str, groups: Mapping[str, tuple[str, ...]]) -> Iterator[_Row]:
    """Give the rows of those who are one customer with others: the strictest of them counts."""
    held = holdings(unit.session, unit.now, brand, groups)
    for subject, group in groups.items():
        own = held.standings.get((PURPOSE, purpose, subject))
        if own is not None and own.notice and held.holds(subject, purpose):
            ends = [held.standings[PURPOSE, purpose, one].expires_at for one in group]
            reach = sum(bit for channel, bit in CHANNEL_BITS.items() if held.reachable(subject, channel))
            first = min((end for end in ends if end is not None), default=None)
            yield _Row(subject, own.log_index, reach, first, own.notice)


def _granted(unit: Unit, brand: str, purpose: str) -> Iterator[tuple[str, Standing]]:
    query = select(
        StateRow.subject, StateRow.decided_at, StateRow.log_index, StateRow.notice, StateRow.expires_at
    ).where(
        StateRow.brand == brand,
        StateRow.kind == PURPOSE,
        StateRow.scope == purpose,
        StateRow.act == Act.GRANT.value,
    )
    for subject, since, index, notice, end in unit.session.execute(query):
        yield subject, Standing(Act.GRANT, since, index, notice, end)


def _channels(unit: Unit, brand: str) -> dict[str, int]:
    query = select(StateRow.subject, StateRow.scope).where(
        StateRow.brand == brand, StateRow.kind == CHANNEL, StateRow.act == Act.GRANT.value
    )
    found: dict[str, int] = {}
    for subject, scope in unit.session.execute(query):
        found[subject] = found.get(subject, 0) | CHANNEL_BITS[Channel(scope)]
    return found
