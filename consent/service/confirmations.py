"""Double opt-in: a grant that waits until its customer confirms it with a token that was sent to them.

A token is 256 random bits, kept as a hash, good once and for a limited time; what waits authorises nothing.
"""

import base64
import hashlib
from datetime import timedelta

from sqlalchemy import func, select

from consent.contract import Act, Choice
from consent.errors import ConflictError, InvalidRequestError, NotFoundError
from consent.log.payloads import Subject
from consent.service import choices
from consent.service.admissibility import check
from consent.service.holding import PURPOSE, standings
from consent.service.work import Caller, Unit
from consent.store.customers import ConfirmationRow
from consent.wire import ConfirmationToken, RecordedChoices

TOKEN_BYTES = 32
VALIDITY = timedelta(days=2)
MOST_PENDING = 5
"""Tokens that one customer can have open; more would only help who wants to flood a mailbox."""
UNKNOWN = "There is no such confirmation: it was used, it expired, or the customer withdrew meanwhile."


def ask(unit: Unit, caller: Caller, choice: Choice) -> ConfirmationToken:
    """Keep a grant until it is confirmed and return the token to send to the customer, shown this once.

    Raises:
        NotFoundError: it is about another brand's customer.
        InvalidRequestError: it is no grant of a purpose, or could not be recorded if it were confirmed.
        UnknownPurposeError: the purpose is not declared.
        UnknownNoticeError: it names no notice that is served for its purpose.
        ConflictError: too many confirmations wait for this customer.
    """
    if choice.brand != caller.name:
        raise NotFoundError("This is not a customer of this brand.")
    if choice.act is not Act.GRANT or choice.purpose is None:
        raise InvalidRequestError("Only a grant of a purpose is confirmed; record everything else as a choice.")
    unit.lock()
    check(unit, caller.name, [choice], confirmed=True)
    if _pending(unit, choice) >= MOST_PENDING:
        raise ConflictError("Too many confirmations wait for this customer; let them use or outlive one.")
    index = unit.log(
        "confirmation_asked",
        choice.model_dump(mode="json", exclude_none=True),
        subject=Subject(choice.brand, choice.subject),
    )
    token = base64.urlsafe_b64encode(unit.random_bytes(TOKEN_BYTES)).rstrip(b"=").decode()
    expires_at = unit.now + VALIDITY
    unit.session.add(
        ConfirmationRow(
            token_hash=_hash(token),
            brand=choice.brand,
            subject=choice.subject,
            choice=choice.model_dump_json().encode(),
            expires_at=expires_at,
            used_at=None,
            log_index=index,
        )
    )
    unit.session.flush()
    return ConfirmationToken(token=token, expires_at=expires_at)


def confirm(unit: Unit, caller: Caller, token: str) -> RecordedChoices:
    """Record the grant that a token confirms.

    Raises:
        NotFoundError: the token is unknown, used, expired or another brand's, or the customer withdrew since.
        InvalidRequestError: the grant may no longer be recorded.
        UnknownNoticeError: its notice was replaced meanwhile.
    """
    unit.lock()
    row = unit.session.get(ConfirmationRow, _hash(token))
    if row is None or row.brand != caller.name or row.used_at is not None or row.expires_at <= unit.now:
        raise NotFoundError(UNKNOWN)
    choice = Choice.model_validate_json(row.choice)
    said = standings(unit.session, row.brand, [row.subject]).get((PURPOSE, str(choice.purpose), row.subject))
    if said is not None and not said.granted and said.log_index > row.log_index:
        raise NotFoundError(UNKNOWN)
    check(unit, caller.name, [choice], confirmed=True)
    row.used_at = unit.now
    unit.session.flush()
    return RecordedChoices(log_indices=tuple(choices.keep(unit, caller.name, [choice])))


def _pending(unit: Unit, choice: Choice) -> int:
    waiting = select(func.count()).where(
        ConfirmationRow.brand == choice.brand,
        ConfirmationRow.subject == choice.subject,
        ConfirmationRow.used_at.is_(None),
        ConfirmationRow.expires_at > unit.now,
    )
    return unit.session.scalar(waiting) or 0


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
