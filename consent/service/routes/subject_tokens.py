"""Tokens of customers who act for themselves."""

from fastapi import APIRouter, Response

from consent.credentials import SubjectToken, SubjectTokenRequest, SubjectTokenRevocation
from consent.service import subject_tokens
from consent.service.access import BrandSide, BrandSideOrCustomer, Work, require_customer
from consent.service.idempotency import OncePerKey
from consent.wire import SubjectRequest

router = APIRouter()


@router.post("/v1/subject-tokens", response_model=SubjectToken)
def mint(wanted: SubjectTokenRequest, work: Work, once: OncePerKey, caller: BrandSide) -> Response:
    """Make a token for a customer whose identity the brand has verified."""
    require_customer(work, caller, SubjectRequest(brand=wanted.brand, subject=wanted.subject))
    return once.answer(lambda unit: subject_tokens.mint(unit, caller, wanted))


@router.post("/v1/subject-tokens/revocation", status_code=204, response_class=Response)
def revoke(wanted: SubjectTokenRevocation, work: Work, once: OncePerKey, caller: BrandSideOrCustomer) -> Response:
    """End one token of a customer now, or all of them."""
    require_customer(work, caller, wanted, counted=False)
    return once.answer(lambda unit: subject_tokens.revoke(unit, caller, wanted))
