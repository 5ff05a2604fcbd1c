"""What is known of a brand as a whole."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from consent.contract import Name
from consent.service import budgets as ledger
from consent.service import oversight
from consent.service.access import OfficerOrBrandSide, Overseer, Work, require_sight
from consent.service.conditional import unless_known
from consent.wire import BudgetsView, CoverageView

router = APIRouter()
BrandName = Annotated[Name, Path()]


@router.get("/v1/brands/{brand}/coverage", response_model=CoverageView)
def coverage(request: Request, brand: BrandName, work: Work, caller: OfficerOrBrandSide) -> Response:
    """Count what holds for the brand's customers, per purpose."""
    require_sight(caller, brand)
    with work.reading() as unit:
        return unless_known(request, CoverageView(purposes=oversight.coverage(unit, brand)))


@router.get("/v1/brands/{brand}/budgets", response_model=BudgetsView)
def budgets(request: Request, brand: BrandName, work: Work, caller: Overseer) -> Response:
    """Give spent, reserved and approved epsilon, per purpose."""
    require_sight(caller, brand)
    with work.reading() as unit:
        return unless_known(request, BudgetsView(budgets=ledger.of_brand(unit.session, brand)))
