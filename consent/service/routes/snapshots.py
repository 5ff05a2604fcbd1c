"""Snapshots of who opted in."""

from fastapi import APIRouter, Request, Response

from consent.contract import Name, Signed, SnapshotHead
from consent.service import snapshots
from consent.service.access import Brand, Coordinator, Work
from consent.service.conditional import unless_known, unless_tagged
from consent.service.idempotency import OncePerKey
from consent.wire import SealedSnapshots, SealRequest, SnapshotRequest, SnapshotView

router = APIRouter()


@router.post("/v1/snapshots", response_model=SealedSnapshots)
def seal(wanted: SealRequest, work: Work, once: OncePerKey, _caller: Coordinator) -> Response:
    """Seal, or find still holding, a head per brand."""
    with work.reading() as unit:
        snapshots.prepare(unit, wanted.purpose, wanted.brands)
    return once.answer(lambda unit: SealedSnapshots(heads=snapshots.seal(unit, wanted.purpose, wanted.brands)))


@router.post("/v1/snapshots/current", response_model=SnapshotView)
def current(wanted: SnapshotRequest, work: Work, caller: Brand) -> Response:
    """Give a brand its own snapshot with its members."""
    with work.reading() as unit:
        view = snapshots.current(unit, caller.name, wanted.purpose)
    return Response(view.model_dump_json(), media_type="application/json")


@router.get("/v1/snapshots/current", response_model=SnapshotView)
def poll(request: Request, purpose: Name, work: Work, caller: Brand) -> Response:
    """Give a brand its own snapshot with its members, unless it has it already."""
    with work.reading() as unit:
        head = snapshots.current_head(unit, caller.name, purpose)
        return unless_tagged(
            request,
            head.body.digest(),
            lambda: snapshots.current(unit, caller.name, purpose).model_dump_json(),
        )


@router.post("/v1/snapshots/current/head")
def current_head(wanted: SnapshotRequest, work: Work, caller: Brand) -> Signed[SnapshotHead]:
    """Give a brand the head of its own snapshot."""
    with work.reading() as unit:
        return snapshots.current_head(unit, caller.name, wanted.purpose)


@router.get("/v1/snapshots/current/head", response_model=Signed[SnapshotHead])
def poll_head(request: Request, purpose: Name, work: Work, caller: Brand) -> Response:
    """Give a brand the head of its own snapshot, unless it has it already."""
    with work.reading() as unit:
        return unless_known(request, snapshots.current_head(unit, caller.name, purpose))
