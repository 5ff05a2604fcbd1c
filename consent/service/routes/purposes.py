"""Purposes and notices."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from consent.catalogue import MAX_PAGE, NoticePage, NoticeTexts, PurposePage
from consent.contract import Digest, Name, Notice, Purpose
from consent.service import catalogue, notices, purposes
from consent.service.access import Anyone, Operator, OperatorOrOfficer, Work
from consent.service.conditional import unless_known
from consent.service.idempotency import OncePerKey
from consent.wire import PublishedNotice

router = APIRouter()
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE)]


@router.post("/v1/purposes", status_code=204, response_class=Response)
def declare(purpose: Purpose, once: OncePerKey, _caller: Operator) -> Response:
    """Declare a purpose."""
    return once.answer(lambda unit: purposes.declare(unit, purpose))


@router.get("/v1/purposes", response_model=PurposePage)
def listed(
    request: Request, work: Work, _caller: Anyone, after: Name | None = None, limit: Limit = MAX_PAGE
) -> Response:
    """List the declared purposes by name, from the one after `after` on."""
    with work.reading() as unit:
        page = catalogue.purposes(unit.session, after=after, limit=limit)
    return unless_known(request, page)


@router.post("/v1/notices", response_model=PublishedNotice)
def publish(notice: Notice, once: OncePerKey, _caller: OperatorOrOfficer) -> Response:
    """Publish a notice."""
    return once.answer(lambda unit: PublishedNotice(notice=notices.publish(unit, notice)))


@router.get("/v1/notices", response_model=NoticePage)
def published(
    request: Request,
    work: Work,
    _caller: Anyone,
    purpose: Name,
    after: Digest | None = None,
    limit: Limit = MAX_PAGE,
) -> Response:
    """List the notices of a purpose by hash, without their texts, from the one after `after` on."""
    with work.reading() as unit:
        page = catalogue.notices(unit, purpose, after=after, limit=limit)
    return unless_known(request, page)


@router.get("/v1/notices/{digest}", response_model=NoticeTexts)
def text(request: Request, work: Work, _caller: Anyone, digest: Annotated[Digest, Path()]) -> Response:
    """Give the text with this hash, once for each purpose that it was published for."""
    with work.reading() as unit:
        found = catalogue.texts(unit.session, digest)
    return unless_known(request, found)
