"""Tokens of customers who act for themselves."""

from fastapi import APIRouter, Response

from consent.credentials import SubjectToken, SubjectTokenRequest
from consent.service import subject_tokens
from consent.service.access import BrandSide, Work, require_customer
from consent.service.idempotency import OncePerKey
from consent.wire import SubjectRequest

router = APIRouter()


@router.post("/v1/subject-tokens", response_model=SubjectToken)
def mint(wanted: SubjectTokenRequest, work: Work, once: OncePerKey, caller: BrandSide) -> Response:
    """Make a token for a customer whose identity the brand has verified."""
    require_customer(work, caller, SubjectRequest(brand=wanted.brand, subject=wanted.subject))
    return once.answer(lambda unit: subject_tokens.mint(unit, caller, wanted))
