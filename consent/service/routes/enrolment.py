"""The service's word on who is enrolled."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from consent.contract import Enrolment, Name, Signed
from consent.contract.aggregation import MAX_BRANDS
from consent.service import enrolment
from consent.service.access import Work, allow
from consent.service.work import Caller
from consent.wire import Role

router = APIRouter()
Asker = Annotated[Caller, Depends(allow(Role.COORDINATOR, Role.OFFICER, Role.AUDITOR, Role.BRAND))]


@router.get("/v1/enrolment", response_model=Signed[Enrolment])
def state(
    request: Request,
    work: Work,
    caller: Asker,
    brand: Annotated[list[Name], Query(min_length=1, max_length=MAX_BRANDS)],
) -> Response:
    """Say, under the service's signature, under which keys brands are enrolled now."""
    validity = timedelta(seconds=request.app.state.enrolment_validity)
    with work.reading() as unit:
        signed = enrolment.state(unit, caller, brand, validity=validity)
    return Response(signed.model_dump_json(), media_type="application/json")
