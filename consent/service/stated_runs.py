"""What a statement says of the runs whose models were trained with its customer, and of what followed for them."""

from collections.abc import Collection, Iterable

from sqlalchemy import func, select

from consent.contract import Act, RemedyPolicy
from consent.rights import StatedRemedy, StatedRun
from consent.service import promises
from consent.service.holding import PURPOSE
from consent.service.lineage import models, trained
from consent.service.tasks import remedy_of
from consent.service.work import Unit
from consent.store.remedies import RemedyRow, WithdrawnModelRow
from consent.store.schema import ChoiceRow, RoundRow
from consent.wire import Participation


def stated_runs(
    unit: Unit, brand: str, pseudonyms: Collection[str], rounds: Iterable[Participation]
) -> tuple[StatedRun, ...]:
    """Return the runs that a customer was in the training of, from the rounds that could use them."""
    return tuple(_stated(unit, brand, pseudonyms, first) for first in trained(rounds))


def _stated(unit: Unit, brand: str, pseudonyms: Collection[str], first: Participation) -> StatedRun:
    task = unit.session.scalars(select(RoundRow.task).where(RoundRow.log_index == first.log_index)).one()
    built = models(unit.session, first.run_id, first.round)
    remedy = _remedy(unit, brand, first, _withdrawn(unit, brand, pseudonyms, first), built)
    policy = remedy.policy if remedy else remedy_of(unit.session, task)
    return StatedRun(
        run_id=first.run_id,
        purpose=first.purpose,
        task=task,
        first_round=first.round,
        models=built,
        policy=policy,
        told=promises.REMEDIES[policy],
        remedy=remedy,
    )


def _withdrawn(unit: Unit, brand: str, pseudonyms: Collection[str], first: Participation) -> int | None:
    """Return the first withdrawal since the customer was in the run."""
    query = select(func.min(ChoiceRow.log_index)).where(
        ChoiceRow.brand == brand,
        ChoiceRow.subject.in_(pseudonyms),
        ChoiceRow.kind == PURPOSE,
        ChoiceRow.scope == first.purpose,
        ChoiceRow.act == Act.WITHDRAW.value,
        ChoiceRow.log_index > first.log_index,
    )
    return unit.session.scalar(query)


def _remedy(
    unit: Unit, brand: str, first: Participation, withdrawn: int | None, built: Collection[str]
) -> StatedRemedy | None:
    """Return the first remedy that answers the withdrawal."""
    if withdrawn is None:
        return None
    query = select(RemedyRow).where(
        RemedyRow.brand == brand, RemedyRow.run_id == first.run_id, RemedyRow.upto_index >= withdrawn
    )
    row = unit.session.scalar(query.order_by(RemedyRow.log_index).limit(1))
    if row is None:
        return None
    replaced = select(WithdrawnModelRow.replaced_by).where(WithdrawnModelRow.model.in_(built))
    return StatedRemedy(
        policy=RemedyPolicy(row.policy),
        log_index=row.log_index,
        closed_index=row.closed_index,
        replaced_by=unit.session.scalar(replaced.limit(1)),
    )
