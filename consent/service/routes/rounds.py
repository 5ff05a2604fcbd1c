"""Opening of rounds."""

from fastapi import APIRouter

from consent.contract import RoundManifest, Signed
from consent.service import rounds
from consent.service.access import Coordinator, Work

router = APIRouter()


@router.post("/v1/rounds", status_code=204)
def open_round(manifest: Signed[RoundManifest], work: Work, caller: Coordinator) -> None:
    """Permit one attempt of a round."""
    with work.writing() as unit:
        rounds.open_round(unit, caller, manifest)
