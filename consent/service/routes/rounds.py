"""Opening of rounds, what runs of secure sums agree on before, and how their attempts end."""

from fastapi import APIRouter, Response

from consent.contract import Abandonment, Closing, RoundManifest, RunSetup, Signed, Unspent
from consent.service import closings, rounds, setups, unspent
from consent.service.access import Brand, Coordinator
from consent.service.idempotency import OncePerKey

router = APIRouter()


@router.post("/v1/rounds", status_code=204, response_class=Response)
def open_round(manifest: Signed[RoundManifest], once: OncePerKey, caller: Coordinator) -> Response:
    """Permit one attempt of a round."""
    return once.answer(lambda unit: rounds.open_round(unit, caller, manifest))


@router.post("/v1/rounds/setup", status_code=204, response_class=Response)
def set_up(setup: Signed[RunSetup], once: OncePerKey, caller: Coordinator) -> Response:
    """Record what the brands of a run agree on."""
    return once.answer(lambda unit: setups.record(unit, caller, setup))


@router.post("/v1/rounds/closing", status_code=204, response_class=Response)
def close(closing: Signed[Closing], once: OncePerKey, caller: Coordinator) -> Response:
    """Fix whose sums of a round are opened."""
    return once.answer(lambda unit: closings.close(unit, caller, closing))


@router.post("/v1/rounds/abandonment", status_code=204, response_class=Response)
def abandon(abandonment: Signed[Abandonment], once: OncePerKey, caller: Coordinator) -> Response:
    """Log that an attempt will never be opened."""
    return once.answer(lambda unit: closings.abandon(unit, caller, abandonment))


@router.post("/v1/rounds/unspent", status_code=204, response_class=Response)
def give_back(statement: Signed[Unspent], once: OncePerKey, caller: Brand) -> Response:
    """Give back what a round reserved of which nothing left the brand."""
    return once.answer(lambda unit: unspent.expire(unit, caller, statement))
