"""What held for one customer at an earlier moment, told again from acts, merges and replaced notices.

The rule is `consent.service.holding`'s own; here is only what it is given.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from consent.contract import Act
from consent.log.commitments import Opening
from consent.service.holding import Holdings, Key
from consent.service.merges import connected
from consent.service.reading import entries_about
from consent.service.standing import Standing, after
from consent.service.timeline import opened, recorded_at
from consent.service.work import Unit
from consent.store.customers import MergeRow
from consent.store.schema import ChoiceRow, NoticeRow, PurposeRow

MERGED, UNMERGED = "subjects_merged", "subjects_unmerged"
When = Callable[[int, datetime], bool]
"""Tells by log index and time whether something had happened by then."""


class _Said(NamedTuple):
    key: Key
    standing: Standing


class _Merge(NamedTuple):
    log_index: int
    at: datetime
    edge: tuple[str, str]
    active: bool


class _Replacement(NamedTuple):
    log_index: int
    at: datetime
    notice: str
    purpose: str


@dataclass(frozen=True)
class Past:
    """Everything that ever decided about one customer."""

    subject: str
    pseudonyms: frozenset[str]
    """The customer's own and all that were ever merged with it."""
    declared: frozenset[str]
    said: tuple[_Said, ...]
    merges: tuple[_Merge, ...]
    replacements: tuple[_Replacement, ...]

    @property
    def purposes(self) -> frozenset[str]:
        """The purposes about which the customer ever said something."""
        return frozenset(scope for (kind, scope, _), _ in self.said if kind == "purpose")

    def holdings(self, happened: When, until: datetime) -> Holdings:
        """Return what decided once all of `happened` had, for grants that last beyond `until`."""
        standings: dict[Key, Standing] = {}
        size = 0
        for key, new in self.said:
            if happened(new.log_index, new.since):
                standings[key] = after(standings.get(key), new)
                size = new.log_index + 1
        edges: dict[tuple[str, str], bool] = {}
        for merge in self.merges:
            if happened(merge.log_index, merge.at):
                edges[merge.edge] = merge.active
        return Holdings(
            now=until,
            log_size=size,
            declared=self.declared,
            replaced=frozenset((one.notice, one.purpose) for one in self.replacements if happened(*one[:2])),
            standings=standings,
            groups=connected(edge for edge, active in edges.items() if active),
        )


def past_of(unit: Unit, brand: str, subject: str) -> Past:
    """Read everything that ever decided about a customer of a brand."""
    pseudonyms = ever_merged(unit.session, brand, subject)
    about = entries_about(unit, brand, pseudonyms) if len(pseudonyms) > 1 else []
    return Past(
        subject=subject,
        pseudonyms=frozenset(pseudonyms),
        declared=frozenset(unit.session.scalars(select(PurposeRow.purpose))),
        said=tuple(_said(unit.session, brand, pseudonyms)),
        merges=tuple(_merges(about)),
        replacements=tuple(_replacements(unit)),
    )


def ever_merged(session: Session, brand: str, subject: str) -> set[str]:
    """Return a pseudonym with all that were ever merged with it, whether or not they still are."""
    seen: set[str] = set()
    frontier = {subject}
    while frontier:
        seen |= frontier
        ends = or_(MergeRow.one.in_(frontier), MergeRow.other.in_(frontier))
        rows = session.execute(select(MergeRow.one, MergeRow.other).where(MergeRow.brand == brand, ends))
        frontier = {end for row in rows for end in row} - seen
    return seen


def _said(session: Session, brand: str, pseudonyms: Iterable[str]) -> Iterable[_Said]:
    query = (
        select(ChoiceRow)
        .where(ChoiceRow.brand == brand, ChoiceRow.subject.in_(sorted(pseudonyms)))
        .order_by(ChoiceRow.log_index)
    )
    for row in session.scalars(query):
        standing = Standing(Act(row.act), row.recorded_at, row.log_index, row.notice, row.expires_at)
        yield _Said((row.kind, row.scope, row.subject), standing)


def _merges(about: Iterable[Opening]) -> Iterable[_Merge]:
    """Pair the two entries that each merge made, one under the key of either pseudonym."""
    halves: dict[str, dict[str, object]] = {}
    for opening in about:
        payload = json.loads(opening.payload)
        if payload["kind"] not in (MERGED, UNMERGED):
            continue
        first = halves.setdefault(payload["merge"], payload)
        if first is not payload:
            one, other = sorted((str(first["subject"]), payload["subject"]))
            at = datetime.fromisoformat(payload["recorded_at"])
            yield _Merge(opening.index, at, (one, other), payload["kind"] == MERGED)


def _replacements(unit: Unit) -> Iterable[_Replacement]:
    rows = unit.session.scalars(select(NoticeRow).where(NoticeRow.replaced_index.is_not(None)))
    replaced = [(row.digest, row.purpose, index) for row in rows if (index := row.replaced_index) is not None]
    at = {hit.log_index: recorded_at(hit) for hit in opened(unit, [index for *_, index in replaced])}
    for digest, purpose, index in replaced:
        yield _Replacement(index, at[index], digest, purpose)
