"""Issuing records and receipts of one customer's consent to one purpose."""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from consent.contract import Act, DecisionReason, Purpose
from consent.errors import NotFoundError
from consent.log.commitments import Opening
from consent.log.proof import prove_entry
from consent.log.remote import LiveFolder
from consent.receipts import ActOfConsent, ConsentFacts, Evidence, NoticeFacts, Profile, document
from consent.rights import ReceiptRequest
from consent.service.controllers import require_controller
from consent.service.holding import PURPOSE, replaced_notices, why_not
from consent.service.purposes import require_purposes
from consent.service.reading import entries_about, log_about
from consent.service.standing import Standing, after
from consent.service.timeline import opened, recorded_at
from consent.service.work import Caller, Unit, Workplace
from consent.store.schema import ChoiceRow, NoticeRow

ISSUED = "receipt_issued"
UUID_BYTES = 16


def issue(work: Workplace, caller: Caller, wanted: ReceiptRequest) -> bytes:
    """Return a document with the proofs of all acts that it tells of; that it was asked for is logged.

    Raises:
        UnknownPurposeError: the purpose is not declared.
        NotFoundError: the customer never granted it.
        ConflictError: nobody is on record as the brand's controller.
        LogError: what was logged can not be published now, so that there is no proof yet.
    """
    profile = Profile(wanted.profile)
    with work.writing() as unit:
        (purpose,) = require_purposes(unit, {wanted.purpose})
        require_controller(unit.session, wanted.brand)
        content = {"reader": caller.role.value, "purpose": wanted.purpose, "profile": profile.value}
        log_about(unit, ISSUED, content, wanted)
        rows = _rows(unit.session, wanted)
        about = {opening.index: opening for opening in entries_about(unit, wanted.brand, [wanted.subject])}
        openings = [about[row.log_index] for row in rows]
        origin = work.publisher.verifier.name
        facts = _facts(unit, origin, purpose, rows, openings) if _granted(rows) else None
    if facts is None:
        raise NotFoundError("This customer never granted this purpose.")
    work.publish_now()
    return document(replace(facts, evidence=_evidence(work.publisher.folder, openings)), profile)


def _rows(session: Session, wanted: ReceiptRequest) -> Sequence[ChoiceRow]:
    query = select(ChoiceRow).where(
        ChoiceRow.brand == wanted.brand,
        ChoiceRow.subject == wanted.subject,
        ChoiceRow.kind == PURPOSE,
        ChoiceRow.scope == wanted.purpose,
    )
    return session.scalars(query.order_by(ChoiceRow.log_index)).all()


def _granted(rows: Sequence[ChoiceRow]) -> bool:
    return any(row.act == Act.GRANT.value for row in rows)


def _facts(
    unit: Unit, origin: str, purpose: Purpose, rows: Sequence[ChoiceRow], openings: Sequence[Opening]
) -> ConsentFacts:
    """Gather everything but the evidence."""
    acts, standing = _acts(rows, openings)
    notices = _notices(unit, purpose)
    last = next(row for row in reversed(rows) if row.act == Act.GRANT.value)
    lapsed = why_not(standing, purpose.purpose, unit.now, replaced_notices(unit.session))
    ended = None
    if lapsed is DecisionReason.EXPIRED and standing is not None:
        ended = standing.expires_at
    elif lapsed is DecisionReason.NOTICE_CHANGED and standing is not None:
        ended = _replaced_at(unit, str(standing.notice), purpose)
    return ConsentFacts(
        brand=last.brand,
        subject=last.subject,
        purpose=purpose,
        controller=require_controller(unit.session, last.brand),
        notice=notices[str(last.notice)],
        acts=acts,
        lapsed=lapsed.value if lapsed is not None and ended is not None else None,
        lapsed_at=ended,
        record_id=str(uuid.uuid5(uuid.NAMESPACE_URL, f"https://{origin}/{rows[0].log_index}")),
        receipt_id=str(uuid.UUID(bytes=unit.random_bytes(UUID_BYTES), version=4)),
        created_at=unit.now,
        evidence=(),
    )


def _acts(
    rows: Sequence[ChoiceRow], openings: Sequence[Opening]
) -> tuple[tuple[ActOfConsent, ...], Standing | None]:
    """Return the acts, each with whether it took effect, and what stands after the last."""
    acts: list[ActOfConsent] = []
    standing: Standing | None = None
    for row, opening in zip(rows, openings, strict=True):
        new = Standing(Act(row.act), row.recorded_at, row.log_index, row.notice, row.expires_at)
        standing = after(standing, new)
        acts.append(
            ActOfConsent(
                act=new.act,
                recorded_at=row.recorded_at,
                log_index=row.log_index,
                method=row.method,
                took_effect=standing.act is new.act,
                explicit=bool(json.loads(opening.payload).get("explicit")),
                collection_point=row.collection_point,
                guardian=row.guardian is not None,
                expires_at=row.expires_at,
            )
        )
    return tuple(acts), standing


def _notices(unit: Unit, purpose: Purpose) -> Mapping[str, NoticeFacts]:
    rows = unit.session.scalars(select(NoticeRow).where(NoticeRow.purpose == purpose.purpose)).all()
    at = {hit.log_index: recorded_at(hit) for hit in opened(unit, [row.log_index for row in rows])}
    return {row.digest: NoticeFacts(row.digest, row.language, row.text, at[row.log_index]) for row in rows}


def _replaced_at(unit: Unit, notice: str, purpose: Purpose) -> datetime:
    """Return when a notice was replaced, which may be after the text that replaced it was published."""
    row = unit.session.get_one(NoticeRow, (notice, purpose.purpose))
    return recorded_at(opened(unit, [row.replaced_index or 0])[0])


def _evidence(folder: Path, openings: Sequence[Opening]) -> tuple[Evidence, ...]:
    source = LiveFolder(folder)
    return tuple(
        Evidence(one.index, one.line().decode(), prove_entry(source, one.index).encode()) for one in openings
    )
