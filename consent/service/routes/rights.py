"""Requests on behalf of customers, which a second person decides."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Path, Response

from consent.rights import RequestsView, RightsRequest, RightsRequestView
from consent.service import erasure, rights
from consent.service.access import OfficerOrBrandSide, Work, require_customer
from consent.service.idempotency import OncePerKey
from consent.service.work import Workplace

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


@router.post("/v1/requests/{request_id}/approve", response_model=RightsRequestView)
def approve(request_id: RequestId, work: Work, once: OncePerKey, caller: OfficerOrBrandSide) -> Response:
    """Approve somebody else's request; an erasure is done at once."""
    return once.answer(lambda unit: rights.approve(unit, caller, request_id), afterwards=partial(_scrubbed, work))


@router.post("/v1/requests/{request_id}/reject", response_model=RightsRequestView)
def reject(request_id: RequestId, once: OncePerKey, caller: OfficerOrBrandSide) -> Response:
    """Reject a request, or take it back."""
    return once.answer(lambda unit: rights.reject(unit, caller, request_id))


def _scrubbed(work: Workplace, content: bytes) -> bytes:
    """Take what an approved erasure destroyed out of all files, and say whether that is done."""
    view = RightsRequestView.model_validate_json(content)
    if view.erasure is None:
        return content
    done = view.erasure.model_copy(update={"scrubbed": erasure.scrub(work)})
    return view.model_copy(update={"erasure": done}).model_dump_json().encode()
