"""The texts that customers are served, identified by their hash; one that says something else asks anew."""

import hashlib

from consent.contract import Notice
from consent.errors import ConflictError, UnknownNoticeError
from consent.service.cohorts import changed_for_all_brands
from consent.service.purposes import require_purposes
from consent.service.work import Unit
from consent.store.schema import NoticeRow


def publish(unit: Unit, notice: Notice) -> str:
    """Publish a notice and return the hash of its text; publishing the same again changes nothing.

    From a material replacement on, grants under the replaced notice hold no longer.

    Raises:
        UnknownPurposeError: its purpose is not declared.
        UnknownNoticeError: it replaces a text that was not published for this purpose and language.
        ConflictError: the same text is published for the purpose in another language, it was itself replaced, or
            the one that it replaces was already replaced by another.
    """
    require_purposes(unit, {notice.purpose})
    unit.lock()
    digest = hashlib.sha256(notice.text.encode()).hexdigest()
    row = unit.session.get(NoticeRow, (digest, notice.purpose))
    old = _replaced(unit, notice, digest)
    if row is not None:
        if row.language != notice.language:
            raise ConflictError("This text is already published as being in another language.")
        if row.replaced_by is not None:
            raise ConflictError("This text was replaced; publish one that differs from it.")
        if old is None or not notice.material or old.replaced_by == digest:
            return digest
    said = {"digest": digest, "purpose": notice.purpose, "language": notice.language}
    if notice.replaces is not None:
        said |= {"replaces": notice.replaces, "change": "material" if notice.material else "editorial"}
    index = unit.log("notice_published", said)
    if row is None:
        unit.session.add(
            NoticeRow(
                digest=digest,
                purpose=notice.purpose,
                language=notice.language,
                text=notice.text,
                replaced_by=None,
                replaced_index=None,
                log_index=index,
            )
        )
    if old is not None and notice.material:
        old.replaced_by, old.replaced_index = digest, index
        changed_for_all_brands(unit.session, notice.purpose, index)
    unit.session.flush()
    return digest


def _replaced(unit: Unit, notice: Notice, digest: str) -> NoticeRow | None:
    """Return the notice that another one replaces, if it does."""
    if notice.replaces is None:
        return None
    old = unit.session.get(NoticeRow, (notice.replaces, notice.purpose))
    if old is None or old.language != notice.language or notice.replaces == digest:
        raise UnknownNoticeError("It replaces no other notice of this purpose and language; name its hash.")
    if old.replaced_by not in (None, digest):
        raise ConflictError("The notice that it replaces was already replaced by another.")
    return old
