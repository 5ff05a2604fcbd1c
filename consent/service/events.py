"""What happened to a brand's customers since a position of the log, read from the tables that decisions read.

Entries of the log are committed in their order, so who has seen a size of it has seen everything before: nothing
can appear behind a position later, whichever process writes it.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

from sqlalchemy import or_, select

from consent.contract import Act, Channel
from consent.events import Changed, Position, Renewal, Reset, Told, Withdrawal
from consent.log.store import read_head
from consent.service.holding import PURPOSE
from consent.service.merges import groups_of
from consent.service.work import Unit
from consent.store.schema import ChoiceRow, CohortRow

MOST_BEHIND = 100_000
"""Entries of the log above which a reader is told to ask for everything instead."""


def since(unit: Unit, brand: str, size: int) -> tuple[Sequence[Told], Position | Reset]:
    """Return what happened since the log had `size` entries, in its order, and the position that leads to."""
    head = read_head(unit.session).size
    if size > head or head - size > MOST_BEHIND:
        return (), Reset(log_size=head)
    found = [] if head == size else [*_changes(unit, brand, size), *_choices(unit, brand, size)]
    return sorted(found, key=_index), Position(log_size=head)


def with_ids(told: Sequence[Told]) -> Iterator[tuple[Told, int | None]]:
    """Pair events with the log index to go on from, which only the last event of an entry has."""
    for index, group in groupby(told, key=_index):
        *others, last = group
        yield from ((other, None) for other in others)
        yield last, index


def _index(event: Told) -> int:
    return event.log_index


def _choices(unit: Unit, brand: str, size: int) -> Iterator[Withdrawal | Renewal]:
    """Give withdrawals, and grants with an end; a grant without one can take nothing away."""
    ends = (ChoiceRow.kind == PURPOSE) & ChoiceRow.expires_at.is_not(None)
    rows = unit.session.execute(
        select(
            ChoiceRow.subject,
            ChoiceRow.kind,
            ChoiceRow.scope,
            ChoiceRow.act,
            ChoiceRow.expires_at,
            ChoiceRow.log_index,
        ).where(
            ChoiceRow.log_index >= size,
            ChoiceRow.brand.concat("") == brand,  # keeps SQLite from going through all of the brand's choices
            or_(ChoiceRow.act == Act.WITHDRAW.value, ends),
        )
    ).all()
    groups = groups_of(unit.session, brand, {row.subject for row in rows})
    for subject, kind, scope, act, end, index in rows:
        for one in groups.get(subject, (subject,)):
            if act == Act.GRANT.value:
                yield Renewal(subject=one, purpose=scope, ends=end, log_index=index)
            elif kind == PURPOSE:
                yield Withdrawal(subject=one, purpose=scope, log_index=index)
            else:
                yield Withdrawal(subject=one, channel=Channel(scope), log_index=index)


def _changes(unit: Unit, brand: str, size: int) -> Iterator[Changed]:
    query = select(CohortRow.purpose, CohortRow.changed_index, CohortRow.rebuilt_index)
    for purpose, changed, rebuilt in unit.session.execute(
        query.where(CohortRow.brand == brand, CohortRow.changed_index >= size)
    ):
        if rebuilt >= size:
            yield Changed(purpose=purpose, loses=True, log_index=rebuilt)
        if changed != rebuilt:
            yield Changed(purpose=purpose, loses=False, log_index=changed)
