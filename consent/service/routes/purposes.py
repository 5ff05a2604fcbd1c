"""Purposes and notices."""

from fastapi import APIRouter

from consent.contract import Notice, Purpose
from consent.service import notices, purposes
from consent.service.access import Operator, OperatorOrOfficer, Work
from consent.wire import PublishedNotice

router = APIRouter()


@router.post("/v1/purposes", status_code=204)
def declare(purpose: Purpose, work: Work, _caller: Operator) -> None:
    """Declare a purpose."""
    with work.writing() as unit:
        purposes.declare(unit, purpose)


@router.post("/v1/notices")
def publish(notice: Notice, work: Work, _caller: OperatorOrOfficer) -> PublishedNotice:
    """Publish a notice."""
    with work.writing() as unit:
        digest = notices.publish(unit, notice)
    return PublishedNotice(notice=digest)
