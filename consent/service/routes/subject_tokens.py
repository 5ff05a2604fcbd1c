"""Tokens of customers who act for themselves."""

from fastapi import APIRouter

from consent.credentials import SubjectToken, SubjectTokenRequest
from consent.service import subject_tokens
from consent.service.access import BrandSide, Work, require_customer
from consent.wire import SubjectRequest

router = APIRouter()


@router.post("/v1/subject-tokens")
def mint(wanted: SubjectTokenRequest, work: Work, caller: BrandSide) -> SubjectToken:
    """Make a token for a customer whose identity the brand has verified."""
    require_customer(work, caller, SubjectRequest(brand=wanted.brand, subject=wanted.subject))
    with work.writing() as unit:
        return subject_tokens.mint(unit, caller, wanted)
