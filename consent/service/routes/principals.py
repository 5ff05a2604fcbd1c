"""Enrolment."""

from fastapi import APIRouter

from consent.service import principals
from consent.service.access import Operator, Work
from consent.wire import EnrolledToken, Enrolment

router = APIRouter()


@router.post("/v1/principals")
def enrol(enrolment: Enrolment, work: Work, _caller: Operator) -> EnrolledToken:
    """Enrol a principal and show its token once."""
    with work.writing() as unit:
        return principals.enrol(unit, enrolment)
