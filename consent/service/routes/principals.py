"""Enrolment."""

from fastapi import APIRouter, Response

from consent.service import principals
from consent.service.access import Operator
from consent.service.idempotency import OncePerKey
from consent.wire import EnrolledToken, Enrolment

router = APIRouter()


@router.post("/v1/principals", response_model=EnrolledToken)
def enrol(enrolment: Enrolment, once: OncePerKey, _caller: Operator) -> Response:
    """Enrol a principal and show its token once."""
    return once.answer(lambda unit: principals.enrol(unit, enrolment))
