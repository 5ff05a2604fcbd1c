"""Records of runs."""

from typing import Annotated

from fastapi import APIRouter, Path, Response

from consent.contract import Name
from consent.service import runs
from consent.service.access import RunReader, Work
from consent.wire import RunRecord

router = APIRouter()


@router.get("/v1/runs/{run_id}", response_model=RunRecord)
def read(run_id: Annotated[Name, Path()], work: Work, caller: RunReader) -> Response:
    """Give a run's manifests and releases."""
    with work.reading() as unit:
        record = runs.read(unit, caller, run_id)
    return Response(record.model_dump_json(), media_type="application/json")
