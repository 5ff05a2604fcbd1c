"""What customers are to each other and to their guardians, and grants that they still have to confirm."""

from fastapi import APIRouter

from consent.contract import Choice
from consent.service import confirmations, guardians, merges
from consent.service.access import Brand, Work
from consent.wire import Confirmation, ConfirmationToken, GuardianRecord, Merge, RecordedChoices

router = APIRouter()


@router.post("/v1/subjects/merge", status_code=204)
def merge(wanted: Merge, work: Work, caller: Brand) -> None:
    """Make two pseudonyms one customer."""
    with work.writing() as unit:
        merges.merge(unit, caller, wanted)


@router.post("/v1/subjects/unmerge", status_code=204)
def unmerge(wanted: Merge, work: Work, caller: Brand) -> None:
    """Undo a merge."""
    with work.writing() as unit:
        merges.unmerge(unit, caller, wanted)


@router.post("/v1/subjects/guardian", status_code=204)
def appoint(wanted: GuardianRecord, work: Work, caller: Brand) -> None:
    """Record who answers for a customer."""
    with work.writing() as unit:
        guardians.appoint(unit, caller, wanted)


@router.post("/v1/confirmations")
def ask(choice: Choice, work: Work, caller: Brand) -> ConfirmationToken:
    """Keep a grant until its customer confirms it."""
    with work.writing() as unit:
        return confirmations.ask(unit, caller, choice)


@router.post("/v1/confirmations/confirm")
def confirm(wanted: Confirmation, work: Work, caller: Brand) -> RecordedChoices:
    """Record the grant that a token confirms."""
    with work.writing() as unit:
        return confirmations.confirm(unit, caller, wanted.token)
