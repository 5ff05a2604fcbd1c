"""One customer: what use was made of them, a statement of everything, and ending it; named in the body alone."""

from collections.abc import Iterable
from typing import Annotated

from fastapi import APIRouter, Depends, Response

from consent.rights import AccessRequest, AccessStatement, Objection, Withdrawn
from consent.service import oversight, reading, statement, withdrawals
from consent.service.access import OfficerOrBrand, Work, allow, require_customer
from consent.service.idempotency import OncePerKey
from consent.service.pages import HEADERS, statement_page
from consent.service.paging import cut
from consent.service.work import Caller
from consent.wire import Participation, ParticipationPage, ParticipationRequest, Role, SubjectRequest

router = APIRouter()
Asker = Annotated[Caller, Depends(allow(Role.OFFICER, Role.BRAND, Role.BRAND_ADMIN, Role.SUBJECT))]


@router.post("/v1/subjects/participation")
def participation(wanted: ParticipationRequest, work: Work, caller: OfficerOrBrand) -> ParticipationPage:
    """Give the rounds that could use this customer, from the one after `after` on; that it was asked is logged."""
    require_customer(work, caller, wanted)
    with work.writing() as unit:
        reading.log_about(unit, "participation_read", {"reader": caller.role.value}, wanted)
        rounds = oversight.participation(unit, wanted.brand, wanted.subject)
    return _page(rounds, wanted)


def _page(rounds: Iterable[Participation], wanted: ParticipationRequest) -> ParticipationPage:
    """Cut a page out of all rounds, which are read together for the bound that each adds to."""
    begin = -1 if wanted.after is None else wanted.after
    page, last = cut([one for one in rounds if one.log_index > begin], wanted.limit)
    return ParticipationPage(rounds=page, cursor=last.log_index if last else None)


@router.post("/v1/subjects/access")
def access(wanted: AccessRequest, work: Work, caller: Asker) -> AccessStatement:
    """Give everything that is held about this customer, to themselves or once a second person approved."""
    require_customer(work, caller, wanted)
    return statement.give(work, caller, wanted)


@router.post("/v1/subjects/access/page")
def access_page(wanted: AccessRequest, work: Work, caller: Asker) -> Response:
    """Give the same as a page to print."""
    require_customer(work, caller, wanted)
    page = statement_page(statement.give(work, caller, wanted))
    return Response(page, media_type="text/html; charset=utf-8", headers=HEADERS)


@router.post("/v1/subjects/withdrawal", response_model=Withdrawn)
def withdraw(wanted: SubjectRequest, work: Work, once: OncePerKey, caller: Asker) -> Response:
    """Withdraw every purpose that was ever asked for, and every channel."""
    require_customer(work, caller, wanted, counted=False)
    return once.answer(lambda unit: withdrawals.withdraw_everything(unit, caller, wanted))


@router.post("/v1/subjects/objection", response_model=Withdrawn)
def object_to(wanted: Objection, work: Work, once: OncePerKey, caller: Asker) -> Response:
    """Deny purposes that the customer objects to."""
    require_customer(work, caller, wanted, counted=False)
    return once.answer(lambda unit: withdrawals.object_to(unit, caller, wanted))
