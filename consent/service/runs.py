"""The record of a run, from which a coordinator resumes, a page at a time."""

from typing import NamedTuple

from sqlalchemy import select

from consent.contract import RoundManifest, RoundRelease, Signed
from consent.errors import NotFoundError
from consent.service.paging import cut
from consent.service.work import Caller, Unit
from consent.store.schema import ReleaseRow, RoundRow
from consent.wire import Role, RunPage


class _Told(NamedTuple):
    """What an entry of the log tells of a run."""

    log_index: int
    kind: type[RoundRow] | type[ReleaseRow]
    body: bytes


def read(unit: Unit, caller: Caller, run_id: str, *, after: int | None, limit: int) -> RunPage:
    """Return the manifests and releases of a run that follow an entry; a coordinator sees its own runs.

    Raises:
        NotFoundError: nothing was opened under this id.
    """
    _require_own(unit, caller, run_id)
    opened = _told(unit, RoundRow, run_id, after, limit + 1)
    released = _told(unit, ReleaseRow, run_id, after, limit + 1)
    told = sorted([*opened, *released], key=lambda one: one.log_index)
    page, last = cut(told, limit)
    return RunPage(
        manifests=tuple(
            Signed[RoundManifest].model_validate_json(one.body) for one in page if one.kind is RoundRow
        ),
        releases=tuple(
            Signed[RoundRelease].model_validate_json(one.body) for one in page if one.kind is ReleaseRow
        ),
        cursor=last.log_index if last else None,
    )


def _require_own(unit: Unit, caller: Caller, run_id: str) -> None:
    openers = set(unit.session.scalars(select(RoundRow.coordinator).where(RoundRow.run_id == run_id).distinct()))
    foreign = caller.role is Role.COORDINATOR and openers != {caller.name}
    if not openers or foreign:
        raise NotFoundError("No such run was opened.")


def _told(
    unit: Unit, kind: type[RoundRow] | type[ReleaseRow], run_id: str, after: int | None, limit: int
) -> list[_Told]:
    query = select(kind.log_index, kind.body).where(kind.run_id == run_id).order_by(kind.log_index).limit(limit)
    if after is not None:
        query = query.where(kind.log_index > after)
    return [_Told(index, kind, body) for index, body in unit.session.execute(query)]
