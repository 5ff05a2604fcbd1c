"""The record of a run, from which a coordinator resumes."""

from sqlalchemy import select

from consent.contract import RoundManifest, RoundRelease, Signed
from consent.errors import NotFoundError
from consent.service.work import Caller, Unit
from consent.store.schema import ReleaseRow, RoundRow
from consent.wire import Role, RunRecord


def read(unit: Unit, caller: Caller, run_id: str) -> RunRecord:
    """Return a run's manifests and releases; a coordinator sees its own runs.

    Raises:
        NotFoundError: nothing was opened under this id.
    """
    rounds = select(RoundRow).where(RoundRow.run_id == run_id).order_by(RoundRow.log_index)
    rows = unit.session.scalars(rounds).all()
    foreign = caller.role is Role.COORDINATOR and any(row.coordinator != caller.name for row in rows)
    if not rows or foreign:
        raise NotFoundError("No such run was opened.")
    releases = select(ReleaseRow.body).where(ReleaseRow.run_id == run_id).order_by(ReleaseRow.log_index)
    return RunRecord(
        manifests=tuple(Signed[RoundManifest].model_validate_json(row.body) for row in rows),
        releases=tuple(Signed[RoundRelease].model_validate_json(body) for body in unit.session.scalars(releases)),
    )
