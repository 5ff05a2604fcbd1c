"""Recording what customers chose: each act is kept and logged, and folded into what each said last."""

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from consent.contract import Act, Choice
from consent.errors import ConflictError, NotFoundError
from consent.log.payloads import Subject
from consent.service import kept_requests
from consent.service.admissibility import check
from consent.service.cohorts import changed
from consent.service.guardianship import guardianships
from consent.service.holding import CHANNEL, PURPOSE, Key, standings
from consent.service.purposes import declared
from consent.service.standing import Standing, after
from consent.service.work import Caller, Unit
from consent.store.bulk import insert_all, upsert_all
from consent.store.schema import ChoiceRow, StateRow
from consent.wire import ChoiceBatch, RecordedChoices


def record(unit: Unit, caller: Caller, batch: ChoiceBatch) -> RecordedChoices:
    """Record a brand's batch once per idempotency key.

    Raises:
        NotFoundError: a choice is another brand's.
        InvalidRequestError: a choice is not one that may be recorded; see `consent.service.admissibility`.
        UnknownPurposeError: a purpose is not declared.
        UnknownNoticeError: a grant of a purpose names no notice that is served for it.
        ConflictError: the idempotency key was used for another batch.
    """
    request = hashlib.sha256(batch.model_dump_json().encode()).hexdigest()
    unit.lock()
    seen = kept_requests.find(unit, caller.id, batch.idempotency_key)
    if seen is not None:
        if seen.request != request:
            raise ConflictError("This idempotency key was used for another batch; take a new key.")
        return RecordedChoices.model_validate_json(seen.response)
    if any(choice.brand != caller.name for choice in batch.choices):
        raise NotFoundError("A choice is not one of this brand's customers; nothing was recorded.")
    check(unit, caller.name, batch.choices)
    indices = keep(unit, caller.name, batch.choices)
    answer = RecordedChoices(log_indices=tuple(indices))
    kept_requests.keep(
        unit,
        caller.id,
        batch.idempotency_key,
        request=request,
        response=answer.model_dump_json().encode(),
        first_index=indices[0],
    )
    return answer


def keep(unit: Unit, brand: str, choices: Sequence[Choice]) -> range:
    """Log choices that were found admissible, keep them, and fold them into what their customers said last."""
    subjects = [Subject(choice.brand, choice.subject) for choice in choices]
    indices = unit.log_all("choice_recorded", [_entry(choice) for choice in choices], subjects=subjects)
    ends = _ends(unit, brand, choices)
    _store(unit, choices, ends, indices)
    _fold(unit, brand, choices, ends, indices)
    return indices


def _entry(choice: Choice) -> dict[str, Any]:
    left_out = None if choice.explicit else {"explicit"}
    return choice.model_dump(mode="json", exclude_none=True, exclude=left_out)


def _ends(unit: Unit, brand: str, choices: Sequence[Choice]) -> list[datetime | None]:
    """Return when each grant ends by itself: with its claim, its purpose's term or its customer's guardianship."""
    terms = {purpose.purpose: purpose.consent_days for purpose in declared(unit.session)}
    guarded = {choice.subject for choice in choices if choice.guardian is not None}
    families = guardianships(unit.session, brand, guarded)
    ends = []
    for choice in choices:
        limits = [choice.expires_at] if choice.expires_at else []
        days = terms.get(choice.purpose or "")
        if days is not None:
            limits.append(unit.now + timedelta(days=days))
        if choice.guardian is not None:
            limits.append(families[choice.subject].until)
        ends.append(min(limits) if limits and choice.act is Act.GRANT else None)
    return ends


def key_of(choice: Choice) -> Key:
    """Return what a choice is about: its kind, its scope and its subject."""
    return (*_kind_scope(choice), choice.subject)


def _kind_scope(choice: Choice) -> tuple[str, str]:
    return (CHANNEL, choice.channel.value) if choice.channel else (PURPOSE, str(choice.purpose))


def _store(unit: Unit, choices: Sequence[Choice], ends: Sequence[datetime | None], indices: range) -> None:
    rows = []
    for choice, end, index in zip(choices, ends, indices, strict=True):
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
                "collection_point": choice.collection_point,
                "guardian": choice.guardian,
                "expires_at": end,
                "claimed_at": choice.claimed_at,
                "recorded_at": unit.now,
            }
        )
    insert_all(unit.session, ChoiceRow, rows)


def _fold(
    unit: Unit, brand: str, choices: Sequence[Choice], ends: Sequence[datetime | None], indices: range
) -> None:
    before = standings(unit.session, brand, (choice.subject for choice in choices))
    now: dict[Key, Standing] = {}
    for choice, end, index in zip(choices, ends, indices, strict=True):
        key = key_of(choice)
        said = Standing(choice.act, unit.now, index, choice.notice, end)
        now[key] = after(now.get(key, before.get(key)), said)
    upsert_all(unit.session, StateRow, [_state(brand, key, now[key]) for key in sorted(now)])
    moved = {key[1] for key, standing in now.items() if key[0] == PURPOSE and _moves(before.get(key), standing)}
    changed(unit.session, brand, moved, indices[-1])


def _moves(before: Standing | None, standing: Standing) -> bool:
    """Tell whether this may change who is in: also a grant that is renewed under a new notice or a new term."""
    if before is None or not before.granted:
        return standing.granted
    return (standing.act, standing.notice, standing.expires_at) != (before.act, before.notice, before.expires_at)


def _state(brand: str, key: Key, standing: Standing) -> dict[str, Any]:
    kind, scope, subject = key
    return {
        "brand": brand,
        "kind": kind,
        "scope": scope,
        "subject": subject,
        "act": standing.act.value,
        "notice": standing.notice,
        "expires_at": standing.expires_at,
        "decided_at": standing.since,
        "log_index": standing.log_index,
    }
