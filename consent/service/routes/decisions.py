"""Decisions."""

from typing import Annotated

from fastapi import APIRouter, Depends

from consent.service import decisions
from consent.service.access import Brand, Work
from consent.service.questions import Questions, questions
from consent.service.quick import QuickRoute
from consent.wire import DecisionBatch, Decisions

router = APIRouter(route_class=QuickRoute)


@router.post("/v1/decisions")
async def decide(
    batch: DecisionBatch, work: Work, caller: Brand, asked: Annotated[Questions, Depends(questions)]
) -> Decisions:
    """Answer whether uses are allowed now."""
    work.limits.spend(caller, "decisions", len(batch.queries))
    decisions.require_own(caller, batch.queries)
    return await asked.ask(work, caller, batch.queries)
