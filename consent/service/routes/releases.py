"""Releases of rounds."""

from fastapi import APIRouter, Response

from consent.contract import RoundRelease, Signed
from consent.service import releases
from consent.service.access import Coordinator
from consent.service.idempotency import OncePerKey

router = APIRouter()


@router.post("/v1/releases", status_code=204, response_class=Response)
def commit(release: Signed[RoundRelease], once: OncePerKey, caller: Coordinator) -> Response:
    """Commit the outcome of a round."""
    return once.answer(lambda unit: releases.commit_release(unit, caller, release))
