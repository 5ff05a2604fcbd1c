"""Whether a use is allowed at this moment: the one place where standings, time, notices and merges meet.

A grant holds until it expires, until its notice is replaced by one that says something else, or until it is
withdrawn. Pseudonyms that were merged are one customer, for whom the strictest of them counts: one that never
said yes denies for all. Unmerging restores what each said.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from consent.contract import Act, Channel, Decision, DecisionQuery, DecisionReason
from consent.service.merges import groups_of
from consent.service.standing import Standing
from consent.store.driver import Driver, Transaction, places
from consent.store.schema import StateRow

PURPOSE = "purpose"
CHANNEL = "channel"
LOOKUP_CHUNK = 1_000

READ_FRAME = (
    "SELECT 'size', CAST(size AS TEXT), NULL FROM log_head UNION ALL "
    "SELECT 'purpose', purpose, NULL FROM purposes UNION ALL "
    "SELECT 'replaced', digest, purpose FROM notices WHERE replaced_by IS NOT NULL"
)
"""What all decisions of a moment share, in one statement: each is a way to the database and back."""
READ_REPLACED = "SELECT digest, purpose FROM notices WHERE replaced_by IS NOT NULL"
READ_STATES = (
    "SELECT kind, scope, subject, act, decided_at, log_index, notice, expires_at FROM states "
    "WHERE brand = %s AND subject IN"
)

Key = tuple[str, str, str]
"""Kind, scope and subject."""
Replaced = frozenset[tuple[str, str]]
"""Notices, each with its purpose, under which grants hold no longer."""
STRICTEST_FIRST = (
    DecisionReason.WITHDRAWN,
    DecisionReason.NOTICE_CHANGED,
    DecisionReason.EXPIRED,
    DecisionReason.NO_GRANT,
)


@dataclass(frozen=True)
class Holdings:
    """Everything that decides about some customers of one brand, as of one moment."""

    now: datetime
    log_size: int
    declared: frozenset[str]
    replaced: Replaced
    standings: Mapping[Key, Standing]
    groups: Mapping[str, tuple[str, ...]]
    """The pseudonyms that each merged one is one customer with, itself included."""

    def decision(self, query: DecisionQuery) -> Decision:
        """Answer one question."""
        if query.purpose not in self.declared:
            return self._denied(DecisionReason.UNKNOWN_PURPOSE)
        reason, standing = self._strictest(query.subject, query.purpose)
        if reason is not None:
            return self._denied(reason, standing)
        if query.channel is not None and not self.reachable(query.subject, query.channel):
            return self._denied(DecisionReason.CHANNEL_NOT_ALLOWED)
        if standing is None:
            return self._denied(DecisionReason.NO_GRANT)
        return Decision(
            allowed=True,
            reason=DecisionReason.GRANTED,
            log_index=standing.log_index,
            notice=standing.notice,
            log_size=self.log_size,
        )

    def holds(self, subject: str, purpose: str) -> bool:
        """Tell whether a customer's grant of a purpose holds."""
        return self._strictest(subject, purpose)[0] is None

    def reachable(self, subject: str, channel: Channel) -> bool:
        """Tell whether a customer may be reached over a channel: all that were merged have to say so."""
        found = (self.standings.get((CHANNEL, channel.value, one)) for one in self._group(subject))
        return all(standing is not None and standing.granted for standing in found)

    def _group(self, subject: str) -> tuple[str, ...]:
        return self.groups.get(subject, (subject,))

    def _strictest(self, subject: str, purpose: str) -> tuple[DecisionReason | None, Standing | None]:
        """Return why a purpose is denied, if it is, and the standing that says so or that grants it."""
        found: dict[DecisionReason | None, Standing | None] = {}
        for one in sorted(self._group(subject), key=lambda one: one != subject):
            standing = self.standings.get((PURPOSE, purpose, one))
            found.setdefault(why_not(standing, purpose, self.now, self.replaced), standing)
        reason = next((reason for reason in STRICTEST_FIRST if reason in found), None)
        return reason, found[reason]

    def _denied(self, reason: DecisionReason, standing: Standing | None = None) -> Decision:
        index = standing.log_index if standing else None
        return Decision(allowed=False, reason=reason, log_index=index, log_size=self.log_size)


def why_not(standing: Standing | None, purpose: str, now: datetime, replaced: Replaced) -> DecisionReason | None:
    """Return why one pseudonym's standing does not allow a purpose, or None where it does."""
    if standing is None:
        return DecisionReason.NO_GRANT
    if not standing.granted:
        return DecisionReason.WITHDRAWN
    if (standing.notice, purpose) in replaced:
        return DecisionReason.NOTICE_CHANGED
    if standing.expires_at is not None and standing.expires_at <= now:
        return DecisionReason.EXPIRED
    return None


def holdings(session: Transaction, now: datetime, brand: str, subjects: Iterable[str]) -> Holdings:
    """Read everything that decides about these customers of a brand."""
    wanted = set(subjects)
    groups = groups_of(session, brand, wanted)
    everyone = wanted.union(*groups.values())
    frame = Driver(session).execute(READ_FRAME).fetchall()
    return Holdings(
        now=now,
        log_size=next(int(size) for kind, size, _ in frame if kind == "size"),
        declared=frozenset(name for kind, name, _ in frame if kind == "purpose"),
        replaced=frozenset((digest, purpose) for kind, digest, purpose in frame if kind == "replaced"),
        standings=standings(session, brand, everyone),
        groups=groups,
    )


def standings(session: Transaction, brand: str, subjects: Iterable[str]) -> dict[Key, Standing]:
    """Return what each of these pseudonyms of a brand said last."""
    wanted = sorted(set(subjects))
    found: dict[Key, Standing] = {}
    driver = Driver(session)
    for start in range(0, len(wanted), LOOKUP_CHUNK):
        chunk = wanted[start : start + LOOKUP_CHUNK]
        rows = driver.execute(f"{READ_STATES} ({places(len(chunk))})", (brand, *chunk))
        for kind, scope, subject, act, since, index, notice, end in rows.fetchall():
            expires_at = None if end is None else driver.moment(end)
            found[kind, scope, subject] = Standing(Act(act), driver.moment(since), index, notice, expires_at)
    return found


def replaced_notices(session: Transaction) -> Replaced:
    """Return the notices under which grants hold no longer."""
    return frozenset((digest, purpose) for digest, purpose in Driver(session).execute(READ_REPLACED).fetchall())


def members(session: Session, brand: str, purpose: str, until: datetime) -> tuple[str, ...]:
    """Return the sorted pseudonyms whose grant of a purpose holds, and does not end by itself before `until`."""
    replaced = {digest for digest, about in replaced_notices(session) if about == purpose}
    query = select(StateRow.subject).where(
        StateRow.brand == brand,
        StateRow.kind == PURPOSE,
        StateRow.scope == purpose,
        StateRow.act == Act.GRANT.value,
        or_(StateRow.expires_at.is_(None), StateRow.expires_at > until),
        or_(StateRow.notice.is_(None), StateRow.notice.not_in(replaced)),
    )
    found = set(session.scalars(query))
    for subject, group in groups_of(session, brand).items():
        if not found.issuperset(group):
            found.discard(subject)
    return tuple(sorted(found))
