"""What an officer, or a brand about itself, can ask: coverage, and the use made of one customer."""

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import and_, exists, func, or_, select
from sqlalchemy.orm import Session

from consent.contract import Act, Phase
from consent.service.holding import PURPOSE, holdings, why_not
from consent.service.ledger import State
from consent.service.merges import groups_of
from consent.service.past import Past, past_of
from consent.service.work import Unit
from consent.store.schema import (
    NoticeRow,
    PurposeRow,
    ReleaseRow,
    RoundRow,
    RoundSnapshotRow,
    SnapshotRow,
    SpendRow,
    StateRow,
)
from consent.wire import Participation, PurposeCoverage
from privacy.accounting import epsilon, reach


class _Attempt(NamedTuple):
    run_id: str
    round: int
    purpose: str
    log_index: int
    log_size: int
    not_after: datetime
    kind: str
    noise_multiplier: float
    shared: bool
    brands_per_customer: int
    delta: float
    state: str


def coverage(unit: Unit, brand: str) -> tuple[PurposeCoverage, ...]:
    """Count, per declared purpose, what holds for a brand's known customers, by pseudonyms."""
    session = unit.session
    known = session.scalar(select(func.count(StateRow.subject.distinct())).where(StateRow.brand == brand)) or 0
    said = Counter[tuple[str, str]]()
    query = (
        select(StateRow.scope, StateRow.act, func.count())
        .where(StateRow.brand == brand, StateRow.kind == PURPOSE)
        .group_by(StateRow.scope, StateRow.act)
    )
    for purpose, act, count in session.execute(query):
        said[purpose, act] = count
    holding = _holding(unit, brand)
    return tuple(
        PurposeCoverage(
            purpose=purpose,
            granted=holding[purpose],
            lapsed=(yes := said[purpose, Act.GRANT.value]) - holding[purpose],
            withdrawn=(no := said[purpose, Act.WITHDRAW.value]),
            never_asked=known - yes - no,
        )
        for purpose in session.scalars(select(PurposeRow.purpose).order_by(PurposeRow.purpose))
    )


def _holding(unit: Unit, brand: str) -> Counter[str]:
    """Count the grants that hold, by purpose; who is merged with somebody is looked at one by one."""
    replaced = exists().where(
        NoticeRow.digest == StateRow.notice,
        NoticeRow.purpose == StateRow.scope,
        NoticeRow.replaced_by.is_not(None),
    )
    query = (
        select(StateRow.scope, func.count())
        .where(
            StateRow.brand == brand,
            StateRow.kind == PURPOSE,
            StateRow.act == Act.GRANT.value,
            or_(StateRow.expires_at.is_(None), StateRow.expires_at > unit.now),
            ~replaced,
        )
        .group_by(StateRow.scope)
    )
    counts = Counter(dict(unit.session.execute(query).tuples().all()))
    held = holdings(unit.session, unit.now, brand, groups_of(unit.session, brand))
    for (kind, purpose, subject), standing in held.standings.items():
        alone = kind == PURPOSE and why_not(standing, purpose, unit.now, held.replaced) is None
        counts[purpose] -= alone and not held.holds(subject, purpose)
    return counts


def participation(unit: Unit, brand: str, subject: str) -> tuple[Participation, ...]:
    """Return the rounds whose snapshot held this customer, from their own history."""
    past = past_of(unit, brand, subject)
    used = [row for row in _attempts(unit.session, brand, past.purposes) if _was_member(past, row)]
    models = _models(unit.session, {row.run_id for row in used})
    so_far: dict[str, list[_Attempt]] = defaultdict(list)
    rounds = []
    for row in _one_per_round(used):
        so_far[row.purpose].append(row)
        by_brands = _by_brands(so_far[row.purpose], row.delta)
        rounds.append(
            Participation(
                run_id=row.run_id,
                round=row.round,
                purpose=row.purpose,
                kind=Phase(row.kind),
                released=row.state == State.COMMITTED.value,
                epsilon=epsilon([row.noise_multiplier], row.delta),
                epsilon_so_far=by_brands[0],
                by_brands=by_brands,
                model=models.get((row.run_id, row.round)),
                log_index=row.log_index,
            )
        )
    return tuple(rounds)


def participation_of_all(unit: Unit, brand: str, pseudonyms: Collection[str]) -> Sequence[Participation]:
    """Return the rounds that could use a customer under any of their pseudonyms, each once."""
    found = [one for pseudonym in pseudonyms for one in participation(unit, brand, pseudonym)]
    by_round = {(one.run_id, one.round): one for one in found}
    return sorted(by_round.values(), key=lambda one: one.log_index)


def _by_brands(rows: Sequence[_Attempt], delta: float) -> tuple[float, ...]:
    most = max(row.brands_per_customer for row in rows)
    return tuple(
        epsilon([row.noise_multiplier / reach(brands, summed=row.shared) for row in rows], delta)
        for brands in range(1, most + 1)
    )


def _models(session: Session, runs: Collection[str]) -> dict[tuple[str, int], str]:
    rows = session.execute(
        select(ReleaseRow.run_id, ReleaseRow.round, ReleaseRow.model_after).where(ReleaseRow.run_id.in_(runs))
    )
    return {(run_id, number): model for run_id, number, model in rows}


def _attempts(session: Session, brand: str, purposes: Collection[str]) -> Sequence[_Attempt]:
    """Return the attempts that asked a brand; once attested, the attested one alone."""
    query = (
        select(
            RoundRow.run_id,
            RoundRow.round,
            RoundRow.purpose,
            RoundRow.log_index,
            SnapshotRow.log_size,
            SnapshotRow.not_after,
            SpendRow.kind,
            SpendRow.noise_multiplier,
            SpendRow.shared,
            SpendRow.brands_per_customer,
            SpendRow.delta,
            SpendRow.state,
        )
        .join(RoundSnapshotRow, RoundSnapshotRow.manifest == RoundRow.digest)
        .join(SnapshotRow, SnapshotRow.id == RoundSnapshotRow.snapshot_id)
        .join(
            SpendRow,
            and_(
                SpendRow.run_id == RoundRow.run_id,
                SpendRow.round == RoundRow.round,
                SpendRow.brand == RoundSnapshotRow.brand,
            ),
        )
        .where(
            RoundSnapshotRow.brand == brand,
            RoundRow.purpose.in_(sorted(purposes)),
            (SpendRow.manifest.is_(None)) | (SpendRow.manifest == RoundRow.digest),
            SpendRow.state != State.EXPIRED.value,
        )
        .order_by(RoundRow.log_index)
    )
    return [_Attempt._make(row) for row in session.execute(query)]


def _was_member(past: Past, row: _Attempt) -> bool:
    held = past.holdings(lambda index, _: index < row.log_size, row.not_after)
    return held.holds(past.subject, row.purpose)


def _one_per_round(rows: Sequence[_Attempt]) -> Sequence[_Attempt]:
    return list({(row.run_id, row.round): row for row in reversed(rows)}.values())[::-1]
