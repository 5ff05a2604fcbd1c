"""Choices of customers."""

from fastapi import APIRouter

from consent.service import choices
from consent.service.access import Brand, Work
from consent.wire import ChoiceBatch, RecordedChoices

router = APIRouter()


@router.post("/v1/choices")
def record(batch: ChoiceBatch, work: Work, caller: Brand) -> RecordedChoices:
    """Record a batch."""
    with work.writing() as unit:
        return choices.record(unit, caller, batch)
