"""Records of runs."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from consent.contract import Name
from consent.service import runs
from consent.service.access import RunReader, Work
from consent.wire import MAX_PAGE, Place, RunPage

router = APIRouter()


@router.get("/v1/runs/{run_id}", response_model=RunPage)
def read(
    run_id: Annotated[Name, Path()],
    work: Work,
    caller: RunReader,
    after: Place | None = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = MAX_PAGE,
) -> Response:
    """Give what was recorded of a run in the order of the log, from the entry after `after` on."""
    with work.reading() as unit:
        page = runs.read(unit, caller, run_id, after=after, limit=limit)
    return Response(page.model_dump_json(), media_type="application/json")
