"""Records and receipts of consent, and who answers for a brand as they tell it."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Response

from consent.contract import Name
from consent.rights import ControllerFacts, ReceiptRequest
from consent.service import controllers, receipts
from consent.service.access import OfficerOrBrandSide, Work, allow, require_customer, require_sight
from consent.service.work import Caller
from consent.wire import Role

router = APIRouter()
Asker = Annotated[Caller, Depends(allow(Role.OFFICER, Role.BRAND, Role.BRAND_ADMIN, Role.SUBJECT))]


@router.put("/v1/brands/{brand}/controller", status_code=204)
def record(brand: Annotated[Name, Path()], facts: ControllerFacts, work: Work, caller: OfficerOrBrandSide) -> None:
    """Record who answers for a brand."""
    require_sight(caller, brand)
    with work.writing() as unit:
        controllers.record(unit, caller, brand, facts)


@router.post("/v1/receipts")
def issue(wanted: ReceiptRequest, work: Work, caller: Asker) -> Response:
    """Issue a record or receipt as JSON-LD, with the proofs of what it tells of attached."""
    require_customer(work, caller, wanted)
    return Response(receipts.issue(work, caller, wanted), media_type="application/ld+json")
