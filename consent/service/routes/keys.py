"""The public keys of the service."""

from fastapi import APIRouter

from consent.service.access import Anyone, Work
from consent.wire import ServiceKeys

router = APIRouter()


@router.get("/v1/keys")
def keys(work: Work, _caller: Anyone) -> ServiceKeys:
    """Give the keys of snapshot heads and of the log."""
    return ServiceKeys(snapshots=work.keys.snapshots.public_key, log=work.publisher.verifier.encode())
