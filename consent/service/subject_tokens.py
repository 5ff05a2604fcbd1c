"""Tokens with which one customer acts for themselves, made by their brand once it knows who they are.

A token is 256 random bits of which only a hash is kept (see `consent.service.principals`). It ends within the
hour, before that where its brand or its customer takes it back, and with the customer's erasure. An ended one is
deleted: nothing of it is left that names the customer.
"""

import base64
from datetime import datetime, timedelta

from sqlalchemy import bindparam, delete, select

from consent.credentials import SubjectToken, SubjectTokenRequest, SubjectTokenRevocation
from consent.errors import UnauthenticatedError
from consent.service.principals import TOKEN_BYTES, token_hash
from consent.service.reading import log_about
from consent.service.work import Caller, Unit
from consent.store import Database
from consent.store.callers import SubjectTokenRow
from consent.wire import Role, SubjectRequest

PREFIX = "cs_"
ID_BYTES = 16
BY_TOKEN = select(
    SubjectTokenRow.brand, SubjectTokenRow.subject, SubjectTokenRow.minted_by, SubjectTokenRow.expires_at
).where(SubjectTokenRow.token_hash == bindparam("token_hash"))


def mint(unit: Unit, caller: Caller, wanted: SubjectTokenRequest) -> SubjectToken:
    """Return a token for a customer, known or not; that it was made is logged under the customer's own key."""
    unit.lock()
    _forget_expired(unit, wanted.brand)
    token = PREFIX + base64.urlsafe_b64encode(unit.random_bytes(TOKEN_BYTES)).rstrip(b"=").decode()
    token_id = unit.random_bytes(ID_BYTES).hex()
    expires_at = unit.now + timedelta(minutes=wanted.minutes)
    about = {
        "token_id": token_id,
        "verified_by": wanted.verified_by,
        "by": caller.role.value,
        "expires_at": expires_at.isoformat(),
    }
    customer = SubjectRequest(brand=wanted.brand, subject=wanted.subject)
    row = SubjectTokenRow(
        token_hash=token_hash(token),
        token_id=token_id,
        brand=wanted.brand,
        subject=wanted.subject,
        minted_by=caller.id,
        expires_at=expires_at,
        log_index=log_about(unit, "subject_token_minted", about, customer),
    )
    unit.session.add(row)
    unit.session.flush()
    return SubjectToken(token=token, token_id=token_id, expires_at=expires_at)


def revoke(unit: Unit, caller: Caller, wanted: SubjectTokenRevocation) -> None:
    """End one token of a customer, or all that they have, now; ending again changes nothing."""
    unit.lock()
    _forget_expired(unit, wanted.brand)
    theirs = [SubjectTokenRow.brand == wanted.brand, SubjectTokenRow.subject == wanted.subject]
    if wanted.token_id is not None:
        theirs.append(SubjectTokenRow.token_id == wanted.token_id)
    ended = sorted(unit.session.scalars(select(SubjectTokenRow.token_id).where(*theirs)))
    if ended:
        unit.session.execute(delete(SubjectTokenRow).where(*theirs))
        about = {"token_ids": ended, "by": caller.role.value}
        log_about(unit, "subject_tokens_revoked", about, wanted)


def authenticate_subject(database: Database, token: str, now: datetime) -> Caller:
    """Return the customer that a token was made for.

    Raises:
        UnauthenticatedError: nobody, or not any more.
    """
    with database.engine.connect() as connection:
        row = connection.execute(BY_TOKEN, {"token_hash": token_hash(token)}).one_or_none()
    if row is None or row.expires_at <= now:
        raise UnauthenticatedError("The customer's token does not hold, or not any more; have a new one made.")
    return Caller(
        id=row.minted_by,
        role=Role.SUBJECT,
        name=row.brand,
        public_key=None,
        brand=row.brand,
        subject=row.subject,
    )


def _forget_expired(unit: Unit, brand: str) -> None:
    ended = SubjectTokenRow.brand == brand, SubjectTokenRow.expires_at <= unit.now
    unit.session.execute(delete(SubjectTokenRow).where(*ended))
