"""What customers can be asked for: purposes, and the notices that explain them."""

import hashlib

from sqlalchemy import select

from consent.contract import Notice, Purpose
from consent.errors import ConflictError, UnknownPurposeError
from consent.service.work import Unit
from consent.store.schema import NoticeRow, PurposeRow


def declare(unit: Unit, purpose: Purpose) -> None:
    """Declare a purpose; declaring the same again changes nothing.

    Raises:
        ConflictError: the purpose is declared with another meaning.
    """
    row = unit.session.get(PurposeRow, purpose.purpose)
    body = purpose.canonical_bytes()
    if row is not None:
        if row.body != body:
            raise ConflictError("This purpose is declared with another meaning; give the new one a new name.")
        return
    index = unit.log("purpose_declared", {"purpose": purpose.model_dump(mode="json")})
    unit.session.add(PurposeRow(purpose=purpose.purpose, body=body, log_index=index))
    unit.session.flush()


def publish(unit: Unit, notice: Notice) -> str:
    """Publish a notice and return the hash of its text; publishing the same again changes nothing.

    Raises:
        UnknownPurposeError: its purpose is not declared.
        ConflictError: the same text is published for the purpose in another language.
    """
    require_purposes(unit, {notice.purpose})
    digest = hashlib.sha256(notice.text.encode()).hexdigest()
    row = unit.session.get(NoticeRow, (digest, notice.purpose))
    if row is not None:
        if row.language != notice.language:
            raise ConflictError("This text is already published as being in another language.")
        return digest
    index = unit.log(
        "notice_published", {"digest": digest, "purpose": notice.purpose, "language": notice.language}
    )
    unit.session.add(
        NoticeRow(
            digest=digest,
            purpose=notice.purpose,
            language=notice.language,
            text=notice.text,
            log_index=index,
        )
    )
    unit.session.flush()
    return digest


def require_purposes(unit: Unit, names: set[str]) -> None:
    """Refuse purposes that were never declared.

    Raises:
        UnknownPurposeError: at least one was not.
    """
    known = set(unit.session.scalars(select(PurposeRow.purpose).where(PurposeRow.purpose.in_(names))))
    if names - known:
        raise UnknownPurposeError("A purpose is not declared; have the operator declare it first.")
