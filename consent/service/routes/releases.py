"""Releases of rounds."""

from fastapi import APIRouter

from consent.contract import RoundRelease, Signed
from consent.service import releases
from consent.service.access import Coordinator, Work

router = APIRouter()


@router.post("/v1/releases", status_code=204)
def commit(release: Signed[RoundRelease], work: Work, caller: Coordinator) -> None:
    """Commit the outcome of a round."""
    with work.writing() as unit:
        releases.commit_release(unit, caller, release)
