"""What is known of a brand as a whole."""

from typing import Annotated

from fastapi import APIRouter, Path

from consent.contract import Name
from consent.service import budgets as ledger
from consent.service import oversight
from consent.service.access import OfficerOrBrandSide, Overseer, Work, require_sight
from consent.wire import BudgetsView, CoverageView

router = APIRouter()
BrandName = Annotated[Name, Path()]


@router.get("/v1/brands/{brand}/coverage")
def coverage(brand: BrandName, work: Work, caller: OfficerOrBrandSide) -> CoverageView:
    """Count what the brand's customers said, per purpose."""
    require_sight(caller, brand)
    with work.reading() as unit:
        return CoverageView(purposes=oversight.coverage(unit.session, brand))


@router.get("/v1/brands/{brand}/budgets")
def budgets(brand: BrandName, work: Work, caller: Overseer) -> BudgetsView:
    """Give spent, reserved and approved epsilon, per purpose."""
    require_sight(caller, brand)
    with work.reading() as unit:
        return BudgetsView(budgets=ledger.of_brand(unit.session, brand))
