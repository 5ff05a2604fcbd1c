"""Snapshots of who opted in."""

from fastapi import APIRouter, Response

from consent.contract import Signed, SnapshotHead
from consent.service import snapshots
from consent.service.access import Brand, Coordinator, Work
from consent.wire import SealedSnapshots, SealRequest, SnapshotRequest

router = APIRouter()


@router.post("/v1/snapshots")
def seal(wanted: SealRequest, work: Work, _caller: Coordinator) -> SealedSnapshots:
    """Seal, or find still holding, a head per brand."""
    with work.reading() as unit:
        snapshots.prepare(unit, wanted.purpose, wanted.brands)
    with work.writing() as unit:
        heads = snapshots.seal(unit, wanted.purpose, wanted.brands)
    return SealedSnapshots(heads=heads)


@router.post("/v1/snapshots/current")
def current(wanted: SnapshotRequest, work: Work, caller: Brand) -> Response:
    """Give a brand its own snapshot with its members."""
    with work.reading() as unit:
        view = snapshots.current(unit, caller.name, wanted.purpose)
    return Response(view.model_dump_json(), media_type="application/json")


@router.post("/v1/snapshots/current/head")
def current_head(wanted: SnapshotRequest, work: Work, caller: Brand) -> Signed[SnapshotHead]:
    """Give a brand the head of its own snapshot."""
    with work.reading() as unit:
        return snapshots.current_head(unit, caller.name, wanted.purpose)
