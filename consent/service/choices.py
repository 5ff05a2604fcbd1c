"""Recording what customers chose: each act is kept and logged, and folded into what holds now."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from consent.contract import Act, Choice
from consent.errors import ConflictError, InvalidRequestError, NotFoundError, UnknownNoticeError
from consent.log.payloads import Subject
from consent.service.purposes import require_purposes
from consent.service.standing import Standing, after, granted
from consent.service.work import Caller, Unit
from consent.store.bulk import insert_all, upsert_all
from consent.store.schema import ChoiceRow, CohortRow, IdempotencyRow, NoticeRow, StateRow
from consent.wire import ChoiceBatch, RecordedChoices

PURPOSE = "purpose"
CHANNEL = "channel"
LOOKUP_CHUNK = 1_000

Key = tuple[str, str, str]
"""Kind, scope and subject."""


def record(unit: Unit, caller: Caller, batch: ChoiceBatch) -> RecordedChoices:
    """Record a brand's batch once per idempotency key.

    Raises:
        NotFoundError: a choice is another brand's.
        InvalidRequestError: a choice names both a purpose and a channel, or neither.
        UnknownPurposeError: a purpose is not declared.
        UnknownNoticeError: a grant of a purpose names no notice published for it.
        ConflictError: the idempotency key was used for another batch.
    """
    request = hashlib.sha256(batch.model_dump_json().encode()).hexdigest()
    unit.lock()
    seen = unit.session.get(IdempotencyRow, (caller.id, batch.idempotency_key))
    if seen is not None:
        if seen.request != request:
            raise ConflictError("This idempotency key was used for another batch; take a new key.")
        return RecordedChoices.model_validate_json(seen.response)
    _check(unit, caller, batch.choices)
    subjects = [Subject(choice.brand, choice.subject) for choice in batch.choices]
    indices = unit.log_all("choice_recorded", [_entry(choice) for choice in batch.choices], subjects=subjects)
    _store(unit, batch.choices, indices)
    _fold(unit, caller.name, batch.choices, indices)
    answer = RecordedChoices(log_indices=tuple(indices))
    unit.session.add(
        IdempotencyRow(
            principal_id=caller.id,
            key=batch.idempotency_key,
            request=request,
            response=answer.model_dump_json().encode(),
            first_index=indices[0],
        )
    )
    unit.session.flush()
    return answer


def standings(session: Session, brand: str, subjects: Iterable[str]) -> dict[Key, Standing]:
    """Return everything that holds for these customers of a brand."""
    wanted = sorted(set(subjects))
    found: dict[Key, Standing] = {}
    for start in range(0, len(wanted), LOOKUP_CHUNK):
        query = select(
            StateRow.kind, StateRow.scope, StateRow.subject, StateRow.act, StateRow.decided_at, StateRow.log_index
        ).where(StateRow.brand == brand, StateRow.subject.in_(wanted[start : start + LOOKUP_CHUNK]))
        for kind, scope, subject, act, since, index in session.execute(query):
            found[kind, scope, subject] = Standing(Act(act), since, index)
    return found


def _check(unit: Unit, caller: Caller, choices: Sequence[Choice]) -> None:
    if any(choice.brand != caller.name for choice in choices):
        raise NotFoundError("A choice is not one of this brand's customers; nothing was recorded.")
    if any((choice.purpose is None) == (choice.channel is None) for choice in choices):
        raise InvalidRequestError("A choice is about one purpose or about one channel, not both or neither.")
    require_purposes(unit, {choice.purpose for choice in choices if choice.purpose is not None})
    served = {(choice.notice, choice.purpose) for choice in choices if choice.purpose and choice.notice}
    rows = unit.session.execute(
        select(NoticeRow.digest, NoticeRow.purpose).where(NoticeRow.digest.in_({digest for digest, _ in served}))
    )
    published = {(digest, purpose) for digest, purpose in rows}
    for choice in choices:
        needs_notice = choice.purpose is not None and (choice.act is Act.GRANT or choice.notice is not None)
        if needs_notice and (choice.notice, choice.purpose) not in published:
            raise UnknownNoticeError(
                "A grant must name a notice that was published for its purpose; publish the notice first."
            )


def _entry(choice: Choice) -> dict[str, Any]:
    return choice.model_dump(mode="json", exclude_none=True)


def _kind_scope(choice: Choice) -> tuple[str, str]:
    return (CHANNEL, choice.channel.value) if choice.channel else (PURPOSE, str(choice.purpose))


def _store(unit: Unit, choices: Sequence[Choice], indices: range) -> None:
    rows = []
    for choice, index in zip(choices, indices, strict=True):
        kind, scope = _kind_scope(choice)
        rows.append(
            {
                "log_index": index,
                "brand": choice.brand,
                "subject": choice.subject,
                "kind": kind,
                "scope": scope,
                "act": choice.act.value,
                "notice": choice.notice,
                "method": choice.method,
                "claimed_at": choice.claimed_at,
                "recorded_at": unit.now,
            }
        )
    insert_all(unit.session, ChoiceRow, rows)


def _fold(unit: Unit, brand: str, choices: Sequence[Choice], indices: range) -> None:
    before = standings(unit.session, brand, (choice.subject for choice in choices))
    now: dict[Key, Standing] = {}
    for choice, index in zip(choices, indices, strict=True):
        key = (*_kind_scope(choice), choice.subject)
        now[key] = after(now.get(key, before.get(key)), choice.act, unit.now, index)
    rows = [
        {
            "brand": brand,
            "kind": kind,
            "scope": scope,
            "subject": subject,
            "act": standing.act.value,
            "decided_at": standing.since,
            "log_index": standing.log_index,
        }
        for (kind, scope, subject), standing in sorted(now.items(), key=lambda item: item[0])
    ]
    upsert_all(unit.session, StateRow, rows)
    changed = {
        scope
        for (kind, scope, subject), standing in now.items()
        if kind == PURPOSE and standing.granted != granted(before.get((kind, scope, subject)))
    }
    upsert_all(
        unit.session,
        CohortRow,
        [{"brand": brand, "purpose": purpose, "changed_index": indices[-1]} for purpose in sorted(changed)],
    )
