"""API keys of programs."""

from fastapi import APIRouter, Request, Response

from consent.credentials import ApiKeyList, ApiKeyRequest, ApiKeyRevocation, NewApiKey
from consent.service import api_keys
from consent.service.access import KeyMaker, Work
from consent.service.idempotency import OncePerKey

router = APIRouter()


@router.post("/v1/api-keys", response_model=NewApiKey)
def create(wanted: ApiKeyRequest, request: Request, once: OncePerKey, caller: KeyMaker) -> Response:
    """Make a key and show it once."""
    scopes = request.app.state.scopes[caller.role]
    return once.answer(lambda unit: api_keys.create(unit, caller, wanted, scopes))


@router.get("/v1/api-keys")
def listed(work: Work, caller: KeyMaker) -> ApiKeyList:
    """List the caller's keys, or all of a brand's for its admin."""
    with work.reading() as unit:
        return api_keys.listed(unit, caller)


@router.post("/v1/api-keys/revocation", status_code=204, response_class=Response)
def revoke(wanted: ApiKeyRevocation, once: OncePerKey, caller: KeyMaker) -> Response:
    """End a key now."""
    return once.answer(lambda unit: api_keys.revoke(unit, caller, wanted.key_id))
