"""Rosters, by which a brand decides by itself."""

from fastapi import APIRouter, Response

from consent.deciding import RosterRequest, RosterView
from consent.service import rosters
from consent.service.access import Brand, Work

router = APIRouter()


@router.post("/v1/rosters", response_model=RosterView)
def roster(wanted: RosterRequest, work: Work, caller: Brand) -> Response:
    """Give a brand everybody who may be used now, to decide by itself."""
    with work.reading() as unit:
        view = rosters.take(unit, caller.name, wanted.purpose)
    return Response(view.model_dump_json(), media_type="application/json")
