"""Approval of tasks."""

from fastapi import APIRouter

from consent.service import tasks
from consent.service.access import Officer, Work
from consent.wire import Approval

router = APIRouter()


@router.post("/v1/tasks", status_code=204)
def approve(approval: Approval, work: Work, _caller: Officer) -> None:
    """Approve a task for brands, with a ceiling."""
    with work.writing() as unit:
        tasks.approve(unit, approval)
