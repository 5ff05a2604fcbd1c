"""Closing a remedy: with the release that replaced the models, or with an officer's signed word.

A release is believed for what the log says of it: it is for the same purpose, no round of its run started from a
model that the customers were in, and every snapshot of the brand that it rests on was sealed after they withdrew.
It is not claimed that a model forgets somebody, nor that every copy of the old one is gone.
"""

from typing import Any, NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from consent.contract import RemedyPolicy, RemedyStatement, Signed
from consent.errors import ConflictError, NotFoundError, RemedyRefusedError
from consent.remedies import ReleaseName, RemedyClosing, WithdrawnModel, WithdrawnModelPage
from consent.service.lineage import earlier_models, models, starting_points
from consent.service.paging import cut
from consent.service.remedies import evidence_of
from consent.service.work import Caller, Unit
from consent.store.bulk import insert_all
from consent.store.remedies import RemedyRow, WithdrawnModelRow
from consent.store.schema import ReleaseRow, RoundRow, RoundSnapshotRow, SnapshotRow, SpendRow


class _Ended(NamedTuple):
    """How a remedy ended: whether the old models are out of use, and the model to use instead."""

    withdraws: bool
    model: str | None


def close(unit: Unit, caller: Caller, wanted: RemedyClosing) -> None:
    """Close a remedy with its evidence; the same again changes nothing.

    Raises:
        NotFoundError: there is no such remedy, or no such release.
        SignatureError: the statement is not signed under the officer's enrolled key.
        ConflictError: the remedy is closed with other evidence.
        RemedyRefusedError: the evidence does not show what the policy asks for.
    """
    unit.lock()
    row = unit.session.get(RemedyRow, wanted.remedy)
    if row is None:
        raise NotFoundError("There is no such remedy.")
    if row.closed_index is not None:
        if evidence_of(row) != wanted:
            raise ConflictError("The remedy is closed already, with other evidence.")
        return
    ended = _ended(unit, caller, row, wanted)
    old = models(unit.session, row.run_id, row.first_round) if ended.withdraws else ()
    index = unit.log("remedy_closed", _account(row, wanted, ended, old))
    known = set(unit.session.scalars(select(WithdrawnModelRow.model).where(WithdrawnModelRow.model.in_(old))))
    added = {"run_id": row.run_id, "replaced_by": ended.model, "log_index": index}
    insert_all(unit.session, WithdrawnModelRow, [{"model": one, **added} for one in old if one not in known])
    row.evidence, row.closed_index = wanted.model_dump_json().encode(), index
    unit.session.flush()


def _account(row: RemedyRow, wanted: RemedyClosing, ended: _Ended, old: tuple[str, ...]) -> dict[str, Any]:
    return {
        "brand": row.brand,
        "run_id": row.run_id,
        "policy": row.policy,
        "evidence": wanted.model_dump(mode="json", exclude_none=True),
        "models_withdrawn": list(old),
        "replaced_by": ended.model,
    }


def _ended(unit: Unit, caller: Caller, row: RemedyRow, wanted: RemedyClosing) -> _Ended:
    if wanted.replaced_by is not None:
        return _Ended(withdraws=True, model=_replacement(unit.session, row, wanted.replaced_by))
    if wanted.statement is None:
        raise RemedyRefusedError("A remedy is closed with evidence.")
    return _Ended(withdraws=_stated(caller, row, wanted.statement), model=None)


def _stated(caller: Caller, row: RemedyRow, signed: Signed[RemedyStatement]) -> bool:
    statement = signed.verify(caller.public_key or "")
    if (statement.remedy, statement.run_id) != (row.log_index, row.run_id):
        raise RemedyRefusedError("The statement is about another remedy.")
    if row.policy == RemedyPolicy.REPLACE.value and not statement.withdraws_models:
        raise RemedyRefusedError(
            "The task's models are to be taken out of use; state that they are, or name what replaced them."
        )
    return statement.withdraws_models


def _replacement(session: Session, row: RemedyRow, name: ReleaseName) -> str:
    release = session.get(ReleaseRow, (name.run_id, name.round))
    if release is None:
        raise NotFoundError("No such release was committed.")
    purpose = session.scalar(select(RoundRow.purpose).where(RoundRow.run_id == name.run_id).limit(1))
    if name.run_id == row.run_id or purpose != row.purpose:
        raise RemedyRefusedError("What replaces a model is another run, for the same purpose.")
    if _rests_on_earlier_snapshots(session, row, name):
        raise RemedyRefusedError(
            "The run rests on customers as they were sealed before the withdrawals; train under new snapshots."
        )
    _check_start(session, row, name, release.model_after)
    return str(release.model_after)


def _check_start(session: Session, row: RemedyRow, name: ReleaseName, model: str) -> None:
    touched = {*models(session, row.run_id, row.first_round), *session.scalars(select(WithdrawnModelRow.model))}
    started = starting_points(session, name.run_id, upto=name.round)
    if touched & {*started, model}:
        raise RemedyRefusedError("The run goes on from a model that is to be replaced, or that is out of use.")
    before = earlier_models(session, row.run_id, row.first_round)
    if row.policy == RemedyPolicy.RETRAIN.value and started[0] not in before:
        raise RemedyRefusedError(
            f"The run did not start over from a model of {row.run_id} before round {row.first_round}; train it "
            f"again from there, or have an officer state what was done instead."
        )


def _rests_on_earlier_snapshots(session: Session, row: RemedyRow, name: ReleaseName) -> bool:
    query = (
        select(SnapshotRow.id)
        .join(RoundSnapshotRow, RoundSnapshotRow.snapshot_id == SnapshotRow.id)
        .join(
            SpendRow, (SpendRow.manifest == RoundSnapshotRow.manifest) & (SpendRow.brand == RoundSnapshotRow.brand)
        )
        .where(
            SpendRow.run_id == name.run_id,
            SpendRow.round <= name.round,
            SpendRow.brand == row.brand,
            SnapshotRow.log_size <= row.upto_index,
        )
    )
    return session.scalar(query.limit(1)) is not None


def withdrawn(session: Session, *, after: str | None, limit: int) -> WithdrawnModelPage:
    """Return the models that are out of use, from after a digest on."""
    query = select(WithdrawnModelRow).order_by(WithdrawnModelRow.model).limit(limit + 1)
    if after is not None:
        query = query.where(WithdrawnModelRow.model > after)
    rows, last = cut(session.scalars(query).all(), limit)
    found = tuple(
        WithdrawnModel(model=row.model, run_id=row.run_id, replaced_by=row.replaced_by, log_index=row.log_index)
        for row in rows
    )
    return WithdrawnModelPage(models=found, cursor=last.model if last else None)
