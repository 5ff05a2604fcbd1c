"""What withdrawals ask of models, and the models that are out of use."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from consent.contract import Digest
from consent.remedies import MAX_MODELS, RemedyClosing, RemedyPage, WithdrawnModelPage
from consent.service import evidence, remedies
from consent.service.access import Officer, Overseer, Work, allow
from consent.service.conditional import unless_known
from consent.service.idempotency import OncePerKey
from consent.service.work import Caller
from consent.wire import MAX_PAGE, Place, Role

router = APIRouter()
Reader = Annotated[Caller, Depends(allow(Role.OFFICER, Role.AUDITOR, Role.BRAND, Role.BRAND_ADMIN))]


@router.get("/v1/remedies", response_model=RemedyPage)
def page(
    work: Work,
    caller: Reader,
    *,
    waiting: bool = False,
    after: Place | None = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = MAX_PAGE,
) -> Response:
    """List what withdrawals ask of models; `waiting` leaves out what is closed."""
    remedies.catch_up(work, caller.brand)
    with work.reading() as unit:
        found = remedies.page(unit, caller, waiting=waiting, after=after, limit=limit)
    return Response(found.model_dump_json(), media_type="application/json")


@router.post("/v1/remedies/closing", status_code=204, response_class=Response)
def close(closing: RemedyClosing, once: OncePerKey, caller: Officer) -> Response:
    """Close a remedy with its evidence."""
    return once.answer(lambda unit: evidence.close(unit, caller, closing))


@router.get("/v1/models/withdrawn", response_model=WithdrawnModelPage)
def withdrawn(
    request: Request,
    work: Work,
    _caller: Overseer,
    after: Digest | None = None,
    limit: Annotated[int, Query(ge=1, le=MAX_MODELS)] = MAX_MODELS,
) -> Response:
    """List the models that are out of use."""
    with work.reading() as unit:
        return unless_known(request, evidence.withdrawn(unit.session, after=after, limit=limit))
