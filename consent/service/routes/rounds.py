"""Opening of rounds."""

from fastapi import APIRouter, Response

from consent.contract import RoundManifest, Signed
from consent.service import rounds
from consent.service.access import Coordinator
from consent.service.idempotency import OncePerKey

router = APIRouter()


@router.post("/v1/rounds", status_code=204, response_class=Response)
def open_round(manifest: Signed[RoundManifest], once: OncePerKey, caller: Coordinator) -> Response:
    """Permit one attempt of a round."""
    return once.answer(lambda unit: rounds.open_round(unit, caller, manifest))
