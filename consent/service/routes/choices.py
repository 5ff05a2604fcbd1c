"""Choices of customers."""

from fastapi import APIRouter, Response

from consent.service import choices
from consent.service.access import Brand, Work
from consent.service.idempotency import OncePerKey
from consent.wire import ChoiceBatch, RecordedChoices

router = APIRouter()


@router.post("/v1/choices", response_model=RecordedChoices)
def record(batch: ChoiceBatch, once: OncePerKey, work: Work, caller: Brand) -> Response:
    """Record a batch."""
    work.limits.spend(caller, "choices", len(batch.choices))
    return once.answer(lambda unit: choices.record(unit, caller, batch))
