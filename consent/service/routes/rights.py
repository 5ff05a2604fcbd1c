"""Requests on behalf of customers, which a second person decides."""

from typing import Annotated

from fastapi import APIRouter, Path, Response

from consent.rights import RequestsView, RightsRequest, RightsRequestView
from consent.service import erasure, rights
from consent.service.access import OfficerOrBrandSide, Work, require_customer
from consent.service.idempotency import OncePerKey

router = APIRouter()
RequestId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]


@router.post("/v1/requests", response_model=RightsRequestView)
def ask(wanted: RightsRequest, work: Work, once: OncePerKey, caller: OfficerOrBrandSide) -> Response:
    """Keep a request until somebody else decides it."""
    require_customer(work, caller, wanted)
    return once.answer(lambda unit: rights.ask(unit, caller, wanted))


@router.get("/v1/requests")
def listed(work: Work, caller: OfficerOrBrandSide) -> RequestsView:
    """List the newest requests."""
    with work.reading() as unit:
        return RequestsView(requests=rights.listed(unit, caller))


@router.post("/v1/requests/{request_id}/approve")
def approve(request_id: RequestId, work: Work, caller: OfficerOrBrandSide) -> RightsRequestView:
    """Approve somebody else's request; an erasure is done at once."""
    with work.writing() as unit:
        view = rights.approve(unit, caller, request_id)
    if view.erasure is None:
        return view
    done = view.erasure.model_copy(update={"scrubbed": erasure.scrub(work)})
    return view.model_copy(update={"erasure": done})


@router.post("/v1/requests/{request_id}/reject")
def reject(request_id: RequestId, work: Work, caller: OfficerOrBrandSide) -> RightsRequestView:
    """Reject a request, or take it back."""
    with work.writing() as unit:
        return rights.reject(unit, caller, request_id)
