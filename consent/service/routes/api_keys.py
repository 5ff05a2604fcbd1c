"""API keys of programs."""

from fastapi import APIRouter, Request

from consent.credentials import ApiKeyList, ApiKeyRequest, ApiKeyRevocation, NewApiKey
from consent.service import api_keys
from consent.service.access import KeyMaker, Work

router = APIRouter()


@router.post("/v1/api-keys")
def create(wanted: ApiKeyRequest, request: Request, work: Work, caller: KeyMaker) -> NewApiKey:
    """Make a key and show it once."""
    with work.writing() as unit:
        return api_keys.create(unit, caller, wanted, request.app.state.scopes[caller.role])


@router.get("/v1/api-keys")
def listed(work: Work, caller: KeyMaker) -> ApiKeyList:
    """List the caller's keys, or all of a brand's for its admin."""
    with work.reading() as unit:
        return api_keys.listed(unit, caller)


@router.post("/v1/api-keys/revocation", status_code=204)
def revoke(wanted: ApiKeyRevocation, work: Work, caller: KeyMaker) -> None:
    """End a key now."""
    with work.writing() as unit:
        api_keys.revoke(unit, caller, wanted.key_id)
