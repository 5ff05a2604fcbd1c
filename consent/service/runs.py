"""The record of a run, from which a coordinator resumes, a page at a time."""

from typing import NamedTuple, TypeVar

from sqlalchemy import select

from consent.contract import Abandonment, Closing, ContractModel, RoundManifest, RoundRelease, RunSetup, Signed
from consent.errors import NotFoundError
from consent.service.paging import cut
from consent.service.work import Caller, Unit
from consent.store.rounds import AbandonmentRow, ClosingRow, RunSetupRow
from consent.store.schema import ReleaseRow, RoundRow
from consent.wire import Role, RunPage

Body = TypeVar("Body", bound=ContractModel)
Table = type[RunSetupRow] | type[RoundRow] | type[AbandonmentRow] | type[ClosingRow] | type[ReleaseRow]
TABLES: tuple[Table, ...] = (RunSetupRow, RoundRow, AbandonmentRow, ClosingRow, ReleaseRow)


class _Told(NamedTuple):
    """What an entry of the log tells of a run."""

    log_index: int
    table: Table
    body: bytes


def read(unit: Unit, caller: Caller, run_id: str, *, after: int | None, limit: int) -> RunPage:
    """Return what was recorded of a run after an entry; a coordinator sees its own runs.

    Raises:
        NotFoundError: nothing was opened under this id.
    """
    _require_own(unit, caller, run_id)
    told = [one for table in TABLES for one in _told(unit, table, run_id, after, limit + 1)]
    page, last = cut(sorted(told, key=lambda one: one.log_index), limit)
    setups = _bodies(page, RunSetupRow, Signed[RunSetup])
    return RunPage(
        setup=setups[0] if setups else None,
        manifests=_bodies(page, RoundRow, Signed[RoundManifest]),
        abandonments=_bodies(page, AbandonmentRow, Signed[Abandonment]),
        closings=_bodies(page, ClosingRow, Signed[Closing]),
        releases=_bodies(page, ReleaseRow, Signed[RoundRelease]),
        cursor=last.log_index if last else None,
    )


def _bodies(page: tuple[_Told, ...], table: Table, kind: type[Body]) -> tuple[Body, ...]:
    return tuple(kind.model_validate_json(one.body) for one in page if one.table is table)


def _require_own(unit: Unit, caller: Caller, run_id: str) -> None:
    openers: set[str] = set()
    for table in (RunSetupRow, RoundRow):
        openers |= set(unit.session.scalars(select(table.coordinator).where(table.run_id == run_id).distinct()))
    foreign = caller.role is Role.COORDINATOR and openers != {caller.name}
    if not openers or foreign:
        raise NotFoundError("No such run was opened.")


def _told(unit: Unit, table: Table, run_id: str, after: int | None, limit: int) -> list[_Told]:
    query = select(table.log_index, table.body).where(table.run_id == run_id)
    if after is not None:
        query = query.where(table.log_index > after)
    rows = unit.session.execute(query.order_by(table.log_index).limit(limit))
    return [_Told(index, table, body) for index, body in rows]
