"""API keys: what a principal gives to a program, narrowed to scopes, ended by time or by revocation.

Like tokens, keys are 256 random bits of which only a hash is kept (see `consent.service.principals`).
"""

import secrets
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import ColumnElement, bindparam, func, select

from consent.credentials import ApiKeyList, ApiKeyRequest, ApiKeyView, NewApiKey
from consent.errors import ConflictError, ForbiddenError, NotFoundError, UnauthenticatedError
from consent.service.principals import TOKEN_BYTES, token_hash
from consent.service.work import Caller, Unit
from consent.store import Database
from consent.store.callers import ApiKeyRow
from consent.store.schema import PrincipalRow
from consent.wire import Role

PREFIX = "ck_"
MAX_KEYS = 100
"""Keys of one principal that work at the same time."""
BY_KEY = (
    select(
        ApiKeyRow.key_id,
        ApiKeyRow.scopes,
        ApiKeyRow.expires_at,
        ApiKeyRow.revoked_at,
        ApiKeyRow.last_used_on,
        PrincipalRow.id,
        PrincipalRow.role,
        PrincipalRow.name,
        PrincipalRow.public_key,
        PrincipalRow.brand,
        PrincipalRow.person,
    )
    .join(PrincipalRow, PrincipalRow.id == ApiKeyRow.principal_id)
    .where(ApiKeyRow.key_hash == bindparam("key_hash"))
)


class UsedKey(NamedTuple):
    """Whom a key speaks for, and when it last did."""

    caller: Caller
    key_id: str
    last_used_on: date | None


def create(unit: Unit, caller: Caller, wanted: ApiKeyRequest, held: frozenset[str]) -> NewApiKey:
    """Make a key and return it, this once; `held` are the scopes that its maker can use and give away.

    Raises:
        ForbiddenError: the maker is a key itself, or asks for more than it may do.
        ConflictError: it has too many keys.
    """
    scopes = sorted(set(wanted.scopes))
    if caller.scopes is not None or not held.issuperset(scopes):
        raise ForbiddenError("An API key does no more than who makes it may do and give away; name such scopes.")
    unit.lock()
    if _working(unit, caller) >= MAX_KEYS:
        raise ConflictError(f"There are {MAX_KEYS} working keys already; revoke one first.")
    key = f"{PREFIX}{secrets.token_urlsafe(TOKEN_BYTES)}"
    row = ApiKeyRow(
        key_id=secrets.token_hex(16),
        principal_id=caller.id,
        brand=caller.brand,
        label=wanted.label,
        key_hash=token_hash(key),
        scopes=" ".join(scopes),
        expires_at=_end(unit, caller, wanted.days),
        last_used_on=None,
        revoked_at=None,
    )
    row.log_index = unit.log("api_key_created", {**_about(row, caller), "scopes": scopes})
    unit.session.add(row)
    unit.session.flush()
    return NewApiKey(key=key, view=_view(row))


def listed(unit: Unit, caller: Caller) -> ApiKeyList:
    """Return the caller's keys, ended ones included; for a brand's admin, those of the whole brand."""
    rows = unit.session.scalars(select(ApiKeyRow).where(_managed(caller)).order_by(ApiKeyRow.log_index))
    return ApiKeyList(keys=tuple(_view(row) for row in rows))


def revoke(unit: Unit, caller: Caller, key_id: str) -> None:
    """End a key now; ending it again changes nothing.

    Raises:
        NotFoundError: there is no such key among those that `listed` returns.
    """
    unit.lock()
    row = unit.session.scalar(select(ApiKeyRow).where(ApiKeyRow.key_id == key_id, _managed(caller)))
    if row is None:
        raise NotFoundError("There is no such key.")
    if row.revoked_at is None:
        row.log_index = unit.log("api_key_revoked", _about(row, caller))
        row.revoked_at = unit.now
        unit.session.flush()


def authenticate_key(database: Database, key: str, now: datetime) -> UsedKey:
    """Return whom a key speaks for.

    Raises:
        UnauthenticatedError: nobody, or not any more.
    """
    with database.engine.connect() as connection:
        row = connection.execute(BY_KEY, {"key_hash": token_hash(key)}).one_or_none()
    if row is None or row.revoked_at is not None or row.expires_at <= now:
        raise UnauthenticatedError("The API key does not work, or not any more; make a new one.")
    caller = Caller(
        id=row.id,
        role=Role(row.role),
        name=row.name,
        public_key=row.public_key,
        brand=row.brand,
        scopes=frozenset(row.scopes.split()),
        person=row.person,
    )
    return UsedKey(caller, row.key_id, row.last_used_on)


def _managed(caller: Caller) -> ColumnElement[bool]:
    if caller.role is Role.BRAND_ADMIN:
        return ApiKeyRow.brand == caller.brand
    return ApiKeyRow.principal_id == caller.id


def _working(unit: Unit, caller: Caller) -> int:
    query = (
        select(func.count())
        .select_from(ApiKeyRow)
        .where(
            ApiKeyRow.principal_id == caller.id,
            ApiKeyRow.revoked_at.is_(None),
            ApiKeyRow.expires_at > unit.now,
        )
    )
    return unit.session.scalar(query) or 0


def _end(unit: Unit, caller: Caller, days: int) -> datetime:
    """A key ends with the token of its maker, so that nobody prolongs their own rights by one."""
    asked = unit.now + timedelta(days=days)
    limit = unit.session.scalar(select(PrincipalRow.expires_at).where(PrincipalRow.id == caller.id))
    return min(asked, limit) if limit is not None else asked


def _about(row: ApiKeyRow, caller: Caller) -> dict[str, str | None]:
    return {
        "key_id": row.key_id,
        "label": row.label,
        "expires_at": row.expires_at.isoformat(),
        "brand": row.brand,
        "by": f"{caller.role.value}:{caller.name}",
    }


def _view(row: ApiKeyRow) -> ApiKeyView:
    scopes: Sequence[str] = row.scopes.split()
    return ApiKeyView(
        key_id=row.key_id,
        label=row.label,
        scopes=tuple(scopes),
        expires_at=row.expires_at,
        last_used_on=row.last_used_on.isoformat() if row.last_used_on else None,
        revoked=row.revoked_at is not None,
    )
