"""What an officer, or a brand about itself, can ask: coverage, and the use made of one customer."""

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session

from consent.contract import Act
from consent.service.holding import PURPOSE
from consent.service.past import Past, past_of
from consent.service.work import Unit
from consent.store.schema import (
    PurposeRow,
    RoundRow,
    RoundSnapshotRow,
    SnapshotRow,
    SpendRow,
    StateRow,
)
from consent.wire import Participation, PurposeCoverage
from privacy.accounting import epsilon


class _Attempt(NamedTuple):
    run_id: str
    round: int
    purpose: str
    log_index: int
    log_size: int
    not_after: datetime
    noise_multiplier: float
    delta: float
    committed: bool


def coverage(session: Session, brand: str) -> tuple[PurposeCoverage, ...]:
    """Count, per declared purpose, what a brand's known customers said."""
    known = session.scalar(select(func.count(StateRow.subject.distinct())).where(StateRow.brand == brand)) or 0
    counts = Counter[tuple[str, str]]()
    query = (
        select(StateRow.scope, StateRow.act, func.count())
        .where(StateRow.brand == brand, StateRow.kind == PURPOSE)
        .group_by(StateRow.scope, StateRow.act)
    )
    for purpose, act, count in session.execute(query):
        counts[purpose, act] = count
    return tuple(
        PurposeCoverage(
            purpose=purpose,
            granted=(yes := counts[purpose, Act.GRANT.value]),
            withdrawn=(no := counts[purpose, Act.WITHDRAW.value]),
            never_asked=known - yes - no,
        )
        for purpose in session.scalars(select(PurposeRow.purpose).order_by(PurposeRow.purpose))
    )


def participation(unit: Unit, brand: str, subject: str) -> tuple[Participation, ...]:
    """Return the rounds whose snapshot held this customer, from their own history."""
    past = past_of(unit, brand, subject)
    used = [row for row in _attempts(unit.session, brand, past.purposes) if _was_member(past, row)]
    multipliers: dict[str, list[float]] = defaultdict(list)
    rounds = []
    for row in _one_per_round(used):
        multipliers[row.purpose].append(row.noise_multiplier)
        rounds.append(
            Participation(
                run_id=row.run_id,
                round=row.round,
                purpose=row.purpose,
                released=row.committed,
                epsilon=epsilon([row.noise_multiplier], row.delta),
                epsilon_so_far=epsilon(multipliers[row.purpose], row.delta),
                log_index=row.log_index,
            )
        )
    return tuple(rounds)


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
            SpendRow.noise_multiplier,
            SpendRow.delta,
            SpendRow.committed,
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
        )
        .order_by(RoundRow.log_index)
    )
    return [_Attempt(*row) for row in session.execute(query)]


def _was_member(past: Past, row: _Attempt) -> bool:
    held = past.holdings(lambda index, _: index < row.log_size, row.not_after)
    return held.holds(past.subject, row.purpose)


def _one_per_round(rows: Sequence[_Attempt]) -> Sequence[_Attempt]:
    return list({(row.run_id, row.round): row for row in reversed(rows)}.values())[::-1]
