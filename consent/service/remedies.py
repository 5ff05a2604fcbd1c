"""What follows for models when customers who were in their training withdraw, as an officer chose for the task.

Nothing is taken out of a model. Its run is named with the first round that the customers were in, and then the
stated epsilon is the answer, or the models wait to be trained again from before that round, or to be taken out of
use (`consent.service.evidence`). Withdrawals of one brand's customers are answered together, so that an entry of
the log tells of nobody. An erasure opens what it asks for in its own transaction, for nothing is left to look at
later; other withdrawals are looked at before remedies are listed, and within the hour.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from consent.contract import Act, RemedyPolicy
from consent.remedies import RemedyClosing, RemedyPage, RemedyView
from consent.service.holding import PURPOSE
from consent.service.ledger import State, multipliers
from consent.service.lineage import models, trained
from consent.service.merges import groups_of
from consent.service.oversight import participation_of_all
from consent.service.paging import cut
from consent.service.tasks import remedy_of
from consent.service.work import Caller, Unit, Workplace
from consent.store.bulk import upsert_all
from consent.store.remedies import RemedyCursorRow, RemedyRow, WithdrawnModelRow
from consent.store.schema import ChoiceRow, RoundRow, SpendRow
from consent.wire import Participation
from privacy.accounting import epsilon

BATCH = 100
"""Withdrawals that are looked at in one transaction, during which others wait."""


def catch_up(work: Workplace, brand: str | None) -> None:
    """Open what withdrawals ask for that nobody looked at yet, of one brand or of all."""
    with work.reading() as unit:
        query = select(SpendRow.brand).where(SpendRow.state == State.COMMITTED.value).distinct()
        brands = sorted(unit.session.scalars(query)) if brand is None else [brand]
    for one in brands:
        more = True
        while more:
            with work.writing() as unit:
                more = look(unit, one)


def look(unit: Unit, brand: str) -> bool:
    """Look at some of a brand's withdrawals, the oldest first; tell whether there may be more."""
    unit.lock()
    purposes = _released(unit.session, brand)
    if not purposes:
        return False
    cursor = unit.session.get(RemedyCursorRow, brand)
    seen, size = cursor.seen if cursor else 0, unit.log_size()
    rows = _withdrawals(unit.session, brand, purposes, seen)
    more = len(rows) == BATCH
    first: dict[str, Participation] = {}
    for index, subject, purpose in rows:
        for one in _asked_before(unit, brand, subject, purpose, index):
            known = first.get(one.run_id, one)
            first[one.run_id] = min(known, one, key=lambda found: found.round)
    if first:
        open_remedies(unit, brand, first, rows[-1][0])
    if seen != size:
        upsert_all(unit.session, RemedyCursorRow, [{"brand": brand, "seen": rows[-1][0] + 1 if more else size}])
    return more


def _released(session: Session, brand: str) -> set[str]:
    """Return the purposes for which the brand's customers were in a release."""
    query = select(SpendRow.purpose).where(SpendRow.brand == brand, SpendRow.state == State.COMMITTED.value)
    return set(session.scalars(query))


def _withdrawals(session: Session, brand: str, purposes: set[str], seen: int) -> list[tuple[int, str, str]]:
    """Return the first withdrawals of these purposes since then."""
    query = (
        select(ChoiceRow.log_index, ChoiceRow.subject, ChoiceRow.scope)
        .where(
            ChoiceRow.log_index >= seen,
            ChoiceRow.brand.concat("") == brand,  # keeps SQLite from going through all of the brand's choices
            ChoiceRow.kind == PURPOSE,
            ChoiceRow.act == Act.WITHDRAW.value,
            ChoiceRow.scope.in_(purposes),
        )
        .order_by(ChoiceRow.log_index)
        .limit(BATCH)
    )
    return [(index, subject, scope) for index, subject, scope in session.execute(query)]


def _asked_before(unit: Unit, brand: str, subject: str, purpose: str, index: int) -> tuple[Participation, ...]:
    group = groups_of(unit.session, brand, {subject}).get(subject, (subject,))
    rounds = participation_of_all(unit, brand, group)
    return trained(one for one in rounds if one.purpose == purpose and one.log_index < index)


def open_remedies(unit: Unit, brand: str, first: Mapping[str, Participation], upto: int) -> None:
    """Open what the withdrawals up to an entry of the log ask of models; what is open already is widened.

    Args:
        unit: in which the withdrawals are known.
        brand: whose customers withdrew.
        first: the first round that trained with one of them, by run.
        upto: the last of the withdrawals.
    """
    gone = set(unit.session.scalars(select(WithdrawnModelRow.model)))
    for run_id in sorted(first):
        if not gone.issuperset(models(unit.session, run_id, first[run_id].round)):
            _open(unit, brand, first[run_id], upto)


def _open(unit: Unit, brand: str, first: Participation, upto: int) -> None:
    query = select(RoundRow.task).where(RoundRow.log_index == first.log_index)
    task = unit.session.scalars(query).one()
    policy = remedy_of(unit.session, task)
    told: dict[str, Any] = {
        "brand": brand,
        "run_id": first.run_id,
        "task": task,
        "purpose": first.purpose,
        "policy": policy.value,
        "first_round": first.round,
        "upto_index": upto,
    }
    if policy is RemedyPolicy.BOUND:
        index = unit.log("remedy_stated", {**told, "epsilon": _bound(unit.session, brand, first)})
        unit.session.add(RemedyRow(**told, log_index=index, closed_index=index))
    elif (row := _waiting(unit.session, brand, first.run_id)) is None:
        unit.session.add(RemedyRow(**told, log_index=unit.log("remedy_opened", told)))
    elif row.upto_index < upto or row.first_round > first.round:
        row.first_round, row.upto_index = min(row.first_round, first.round), max(row.upto_index, upto)
        widened = {"remedy": row.log_index, "first_round": row.first_round, "upto_index": row.upto_index}
        unit.log("remedy_widened", {**told, **widened, "policy": row.policy})
    unit.session.flush()


def _waiting(session: Session, brand: str, run_id: str) -> RemedyRow | None:
    query = select(RemedyRow).where(
        RemedyRow.brand == brand, RemedyRow.run_id == run_id, RemedyRow.closed_index.is_(None)
    )
    return session.scalars(query).one_or_none()


def _bound(session: Session, brand: str, first: Participation) -> float:
    """Return what the run can tell about a customer of the brand who was in it from a round on."""
    query = select(SpendRow).where(
        SpendRow.brand == brand,
        SpendRow.run_id == first.run_id,
        SpendRow.round >= first.round,
        SpendRow.state == State.COMMITTED.value,
    )
    rows = session.scalars(query).all()
    return epsilon(multipliers(rows), max(row.delta for row in rows))


def page(unit: Unit, caller: Caller, *, waiting: bool, after: int | None, limit: int) -> RemedyPage:
    """Return remedies that follow an entry, a brand's own alone; `waiting` leaves out what is closed."""
    query = select(RemedyRow).order_by(RemedyRow.log_index).limit(limit + 1)
    if caller.brand is not None:
        query = query.where(RemedyRow.brand == caller.brand)
    if waiting:
        query = query.where(RemedyRow.closed_index.is_(None))
    if after is not None:
        query = query.where(RemedyRow.log_index > after)
    rows, last = cut(unit.session.scalars(query).all(), limit)
    return RemedyPage(remedies=tuple(_views(unit.session, rows)), cursor=last.log_index if last else None)


def _views(session: Session, rows: Iterable[RemedyRow]) -> Iterable[RemedyView]:
    for row in rows:
        built = models(session, row.run_id, row.first_round)
        yield RemedyView(
            remedy=row.log_index,
            brand=row.brand,
            run_id=row.run_id,
            task=row.task,
            purpose=row.purpose,
            policy=RemedyPolicy(row.policy),
            first_round=row.first_round,
            upto_index=row.upto_index,
            model=built[-1] if built else None,
            closed_index=row.closed_index,
            closed_by=evidence_of(row),
        )


def evidence_of(row: RemedyRow) -> RemedyClosing | None:
    """Return what a remedy was closed with."""
    return None if row.evidence is None else RemedyClosing.model_validate_json(row.evidence)
