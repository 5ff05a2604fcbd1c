"""Decisions."""

from fastapi import APIRouter

from consent.service import decisions
from consent.service.access import Brand, Work
from consent.service.quick import QuickRoute
from consent.wire import DecisionBatch, Decisions

router = APIRouter(route_class=QuickRoute)


@router.post("/v1/decisions")
def decide(batch: DecisionBatch, work: Work, caller: Brand) -> Decisions:
    """Answer whether uses are allowed now."""
    work.limits.spend(caller, "decisions", len(batch.queries))
    with work.reading() as unit:
        return Decisions(decisions=decisions.decide(unit, caller, batch.queries))
