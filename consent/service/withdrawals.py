"""Ending everything that a customer allowed in one act, and objecting to what never asked them.

Both cover all pseudonyms that are this customer now, so that undoing a merge later brings nothing back. An
objection denies as a withdrawal does: a purpose that rests on a legitimate interest is denied by default here
like any other, and from the objection on also by what the customer said.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from consent.contract import Act, Channel, Choice, LegalBasis
from consent.log.payloads import Subject
from consent.rights import Objection, Withdrawn
from consent.service import choices
from consent.service.holding import CHANNEL, PURPOSE, Key, standings
from consent.service.merges import groups_of
from consent.service.purposes import declared, require_purposes
from consent.service.standing import Standing
from consent.service.work import Caller, Unit
from consent.store.customers import ConfirmationRow
from consent.wire import SubjectRequest


def withdraw_everything(unit: Unit, caller: Caller, wanted: SubjectRequest) -> Withdrawn:
    """Withdraw every purpose that the customer was ever asked for and every channel; again changes nothing."""
    unit.lock()
    pseudonyms = _pseudonyms(unit.session, wanted)
    said = standings(unit.session, wanted.brand, pseudonyms)
    waiting = _waiting(unit.session, wanted.brand, pseudonyms)
    keys = {key for key in said if key[0] == PURPOSE} | set(waiting.values())
    keys |= {(CHANNEL, channel.value, one) for channel in Channel for one in pseudonyms}
    return _end(unit, caller, wanted, said, waiting, keys)


def object_to(unit: Unit, caller: Caller, wanted: Objection) -> Withdrawn:
    """Deny the purposes that a customer objects to; again changes nothing.

    Raises:
        UnknownPurposeError: a purpose is not declared.
    """
    unit.lock()
    named = {purpose.purpose for purpose in require_purposes(unit, set(wanted.purposes))} or {
        purpose.purpose
        for purpose in declared(unit.session)
        if purpose.legal_basis is LegalBasis.LEGITIMATE_INTEREST
    }
    pseudonyms = _pseudonyms(unit.session, wanted)
    said = standings(unit.session, wanted.brand, pseudonyms)
    keys = {(PURPOSE, purpose, one) for purpose in named for one in pseudonyms}
    waiting = {
        token: key for token, key in _waiting(unit.session, wanted.brand, pseudonyms).items() if key in keys
    }
    ended = _end(unit, caller, wanted, said, waiting, keys)
    if ended.log_indices:
        content = {"brand": wanted.brand, "subject": wanted.subject, "purposes": list(ended.purposes)}
        unit.log("objection_recorded", content, subject=Subject(wanted.brand, wanted.subject))
    return ended


def _pseudonyms(session: Session, wanted: SubjectRequest) -> tuple[str, ...]:
    return groups_of(session, wanted.brand, {wanted.subject}).get(wanted.subject, (wanted.subject,))


def _waiting(session: Session, brand: str, pseudonyms: Iterable[str]) -> dict[str, Key]:
    """Return the grants that wait for their confirmation, which would come after the withdrawal, by token."""
    rows = session.scalars(
        select(ConfirmationRow).where(
            ConfirmationRow.brand == brand,
            ConfirmationRow.subject.in_(pseudonyms),
            ConfirmationRow.used_at.is_(None),
        )
    )
    return {
        row.token_hash: (PURPOSE, str(Choice.model_validate_json(row.choice).purpose), row.subject) for row in rows
    }


def _end(
    unit: Unit,
    caller: Caller,
    wanted: SubjectRequest,
    said: Mapping[Key, Standing],
    waiting: Mapping[str, Key],
    keys: set[Key],
) -> Withdrawn:
    pending = set(waiting.values())
    ending = sorted(key for key in keys if key in pending or key not in said or said[key].granted)
    acts = _acts(caller, wanted.brand, ending)
    indices = choices.keep(unit, wanted.brand, acts) if acts else ()
    unit.session.execute(
        update(ConfirmationRow).where(ConfirmationRow.token_hash.in_(waiting)).values(used_at=unit.now),
        execution_options={"synchronize_session": False},
    )
    return Withdrawn(
        purposes=tuple(sorted({scope for kind, scope, _ in ending if kind == PURPOSE})),
        channels=tuple(
            Channel(scope) for scope in sorted({scope for kind, scope, _ in ending if kind == CHANNEL})
        ),
        log_indices=tuple(indices),
    )


def _acts(caller: Caller, brand: str, ending: Sequence[Key]) -> list[Choice]:
    method: Literal["form", "support"] = "support" if caller.subject is None else "form"
    return [
        Choice(
            brand=brand,
            subject=subject,
            act=Act.WITHDRAW,
            purpose=scope if kind == PURPOSE else None,
            channel=Channel(scope) if kind == CHANNEL else None,
            method=method,
        )
        for kind, scope, subject in ending
    ]
