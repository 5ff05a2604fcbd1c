"""What an officer, or a brand about itself, can ask: coverage, and the use made of one customer."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session

from consent.contract import Act
from consent.service.holding import PURPOSE
from consent.service.standing import Standing, after, granted
from consent.store.schema import (
    ChoiceRow,
    PurposeRow,
    RoundRow,
    RoundSnapshotRow,
    SnapshotRow,
    SpendRow,
    StateRow,
)
from consent.wire import Participation, PurposeCoverage
from privacy.accounting import epsilon

History = Mapping[str, Sequence[tuple[int, bool]]]
"""By purpose: log index and whether use was allowed from there on."""


class _Attempt(NamedTuple):
    run_id: str
    round: int
    purpose: str
    log_index: int
    log_size: int
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


def participation(session: Session, brand: str, subject: str) -> tuple[Participation, ...]:
    """Return the rounds whose snapshot held this customer, from their own history of choices."""
    history = _history(session, brand, subject)
    used = [row for row in _attempts(session, brand, history) if _was_member(history, row)]
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


def _history(session: Session, brand: str, subject: str) -> History:
    query = (
        select(ChoiceRow.scope, ChoiceRow.act, ChoiceRow.recorded_at, ChoiceRow.log_index)
        .where(ChoiceRow.brand == brand, ChoiceRow.subject == subject, ChoiceRow.kind == PURPOSE)
        .order_by(ChoiceRow.log_index)
    )
    held: dict[str, Standing] = {}
    history: dict[str, list[tuple[int, bool]]] = defaultdict(list)
    for purpose, act, at, index in session.execute(query):
        held[purpose] = after(held.get(purpose), Standing(Act(act), at, index))
        history[purpose].append((index, granted(held[purpose])))
    return history


def _attempts(session: Session, brand: str, history: History) -> Sequence[_Attempt]:
    """Return the attempts that asked a brand; once attested, the attested one alone."""
    query = (
        select(
            RoundRow.run_id,
            RoundRow.round,
            RoundRow.purpose,
            RoundRow.log_index,
            SnapshotRow.log_size,
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
            RoundRow.purpose.in_(list(history)),
            (SpendRow.manifest.is_(None)) | (SpendRow.manifest == RoundRow.digest),
        )
        .order_by(RoundRow.log_index)
    )
    return [_Attempt(*row) for row in session.execute(query)]


def _was_member(history: History, row: _Attempt) -> bool:
    before = [allowed for index, allowed in history[row.purpose] if index < row.log_size]
    return bool(before) and before[-1]


def _one_per_round(rows: Sequence[_Attempt]) -> Sequence[_Attempt]:
    return list({(row.run_id, row.round): row for row in reversed(rows)}.values())[::-1]
