"""Proofs of answers that were given."""

from typing import Annotated

from fastapi import APIRouter, Depends

from consent.answers import AnswerProof, AnswerProofRequest
from consent.service import answers
from consent.service.access import Work, allow
from consent.service.work import Caller
from consent.wire import Role

router = APIRouter()
Accountable = Annotated[Caller, Depends(allow(Role.OFFICER, Role.AUDITOR, Role.BRAND, Role.BRAND_ADMIN))]


@router.post("/v1/decisions/proof")
def prove(wanted: AnswerProofRequest, work: Work, caller: Accountable) -> AnswerProof:
    """Prove which answer was given at a place, without telling what it says; its root is logged within seconds."""
    with work.reading() as unit:
        return answers.prove(unit, caller.brand, wanted)
