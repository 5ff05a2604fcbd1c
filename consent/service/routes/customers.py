"""What customers are to each other and to their guardians, and grants that they still have to confirm."""

from fastapi import APIRouter, Response

from consent.contract import Choice
from consent.service import confirmations, guardians, merges
from consent.service.access import Brand
from consent.service.idempotency import OncePerKey
from consent.wire import Confirmation, ConfirmationToken, GuardianRecord, Merge, RecordedChoices

router = APIRouter()


@router.post("/v1/subjects/merge", status_code=204, response_class=Response)
def merge(wanted: Merge, once: OncePerKey, caller: Brand) -> Response:
    """Make two pseudonyms one customer."""
    return once.answer(lambda unit: merges.merge(unit, caller, wanted))


@router.post("/v1/subjects/unmerge", status_code=204, response_class=Response)
def unmerge(wanted: Merge, once: OncePerKey, caller: Brand) -> Response:
    """Undo a merge."""
    return once.answer(lambda unit: merges.unmerge(unit, caller, wanted))


@router.post("/v1/subjects/guardian", status_code=204, response_class=Response)
def appoint(wanted: GuardianRecord, once: OncePerKey, caller: Brand) -> Response:
    """Record who answers for a customer."""
    return once.answer(lambda unit: guardians.appoint(unit, caller, wanted))


@router.post("/v1/confirmations", response_model=ConfirmationToken)
def ask(choice: Choice, once: OncePerKey, caller: Brand) -> Response:
    """Keep a grant until its customer confirms it."""
    return once.answer(lambda unit: confirmations.ask(unit, caller, choice))


@router.post("/v1/confirmations/confirm", response_model=RecordedChoices)
def confirm(wanted: Confirmation, once: OncePerKey, caller: Brand) -> Response:
    """Record the grant that a token confirms."""
    return once.answer(lambda unit: confirmations.confirm(unit, caller, wanted.token))
