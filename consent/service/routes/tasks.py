"""Approval of tasks."""

from fastapi import APIRouter, Response

from consent.remedies import RemedyChoice
from consent.service import tasks
from consent.service.access import Officer
from consent.service.idempotency import OncePerKey
from consent.wire import Approval

router = APIRouter()


@router.post("/v1/tasks", status_code=204, response_class=Response)
def approve(approval: Approval, once: OncePerKey, _caller: Officer) -> Response:
    """Approve a task for brands, with a ceiling."""
    return once.answer(lambda unit: tasks.approve(unit, approval))


@router.post("/v1/tasks/remedy", status_code=204, response_class=Response)
def choose_remedy(choice: RemedyChoice, once: OncePerKey, _caller: Officer) -> Response:
    """Choose what follows for a task's models when customers withdraw."""
    return once.answer(lambda unit: tasks.choose_remedy(unit, choice.task, choice.policy))
