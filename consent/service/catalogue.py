"""Lists of what customers can be asked for: purposes, and the notices that explain them."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from consent.catalogue import NoticeEntry, NoticePage, NoticeTexts, PurposePage
from consent.contract import Purpose
from consent.errors import NotFoundError
from consent.service.paging import cut
from consent.service.purposes import require_purposes
from consent.service.work import Unit
from consent.store.schema import NoticeRow, PurposeRow


def purposes(session: Session, *, after: str | None, limit: int) -> PurposePage:
    """Return the purposes that follow a name."""
    query = select(PurposeRow.body).order_by(PurposeRow.purpose).limit(limit + 1)
    if after is not None:
        query = query.where(PurposeRow.purpose > after)
    found = [Purpose.model_validate_json(body) for body in session.scalars(query)]
    page, last = cut(found, limit)
    return PurposePage(purposes=page, cursor=last.purpose if last else None)


def notices(unit: Unit, purpose: str, *, after: str | None, limit: int) -> NoticePage:
    """Return the notices of a purpose that follow a hash.

    Raises:
        UnknownPurposeError: the purpose is not declared.
    """
    require_purposes(unit, {purpose})
    query = select(NoticeRow).where(NoticeRow.purpose == purpose).order_by(NoticeRow.digest).limit(limit + 1)
    if after is not None:
        query = query.where(NoticeRow.digest > after)
    found = [_entry(row) for row in unit.session.scalars(query)]
    page, last = cut(found, limit)
    return NoticePage(notices=page, cursor=last.notice if last else None)


def texts(session: Session, digest: str) -> NoticeTexts:
    """Return the text with a hash.

    Raises:
        NotFoundError: none was published.
    """
    rows = session.scalars(select(NoticeRow).where(NoticeRow.digest == digest).order_by(NoticeRow.purpose)).all()
    if not rows:
        raise NotFoundError("No notice with this hash was published.")
    return NoticeTexts(text=rows[0].text, published=tuple(_entry(row) for row in rows))


def _entry(row: NoticeRow) -> NoticeEntry:
    return NoticeEntry(notice=row.digest, purpose=row.purpose, language=row.language, replaced_by=row.replaced_by)
