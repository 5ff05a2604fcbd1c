"""Who may call: enrolment and bearer tokens, of which only hashes are kept.

A token is 256 random bits, so one SHA-256 hides it as well as a slow hash would, which exists for what people
can think of; and it is looked up by that hash, which tells nobody by its time how much of a guess was right.
"""

import hashlib
import secrets
from datetime import datetime, timedelta

from sqlalchemy import bindparam, select, update
from sqlalchemy.orm import Session

from consent.errors import ConflictError, InvalidRequestError, UnauthenticatedError
from consent.service.work import Caller, Unit
from consent.store import Database
from consent.store.callers import ApiKeyRow
from consent.store.schema import PrincipalRow
from consent.wire import EnrolledToken, Enrolment, Role

TOKEN_BYTES = 32
SIGNING_ROLES = (Role.BRAND, Role.COORDINATOR)
BY_TOKEN = select(
    PrincipalRow.id,
    PrincipalRow.role,
    PrincipalRow.name,
    PrincipalRow.public_key,
    PrincipalRow.brand,
    PrincipalRow.person,
    PrincipalRow.expires_at,
).where(PrincipalRow.token_hash == bindparam("token_hash"))


def enrol(unit: Unit, enrolment: Enrolment) -> EnrolledToken:
    """Enrol a principal, or give an enrolled one a new token and key, which ends the old ones and its API keys.

    Operators' tokens do not end: the first lies beside the service's keys, and who has lost it could let nobody
    in any more.

    Raises:
        InvalidRequestError: a role that signs brings no public key, or a brand is named by a role that has none.
        ConflictError: the name is taken by an admin of another brand.
    """
    _check(enrolment)
    token = secrets.token_urlsafe(TOKEN_BYTES)
    days = timedelta(days=enrolment.days)
    expires_at = None if enrolment.role is Role.OPERATOR else unit.now + days
    index = unit.log("principal_enrolled", enrolment.model_dump(mode="json", exclude_none=True))
    row = _row(unit, enrolment.role, enrolment.name, _brand(enrolment))
    row.token_hash = token_hash(token)
    row.expires_at = expires_at
    row.public_key = enrolment.public_key
    row.log_index = index
    unit.session.flush()
    unit.session.execute(
        update(ApiKeyRow)
        .where(ApiKeyRow.principal_id == row.id, ApiKeyRow.revoked_at.is_(None))
        .values(revoked_at=unit.now, log_index=index)
    )
    return EnrolledToken(token=token, expires_at=expires_at)


def authenticate(database: Database, token: str, now: datetime) -> Caller:
    """Return the principal that holds a token.

    Raises:
        UnauthenticatedError: nobody does, or not any more.
    """
    with database.engine.connect() as connection:
        row = connection.execute(BY_TOKEN, {"token_hash": token_hash(token)}).one_or_none()
    if row is None:
        raise UnauthenticatedError("The token is not enrolled; ask the operator for a new one.")
    if row.expires_at is not None and row.expires_at <= now:
        raise UnauthenticatedError("The token has ended; ask the operator for a new one.")
    return Caller(
        id=row.id,
        role=Role(row.role),
        name=row.name,
        public_key=row.public_key,
        brand=row.brand,
        person=row.person,
    )


def brand_keys(session: Session, brands: tuple[str, ...]) -> dict[str, str]:
    """Return the enrolled public key of each brand that has one."""
    rows = session.execute(
        select(PrincipalRow.name, PrincipalRow.public_key).where(
            PrincipalRow.role == Role.BRAND.value, PrincipalRow.name.in_(brands)
        )
    )
    return {name: key for name, key in rows if key is not None}


def token_hash(token: str) -> str:
    """Return what is kept of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def _check(enrolment: Enrolment) -> None:
    if enrolment.role is Role.SUBJECT:
        raise InvalidRequestError("Customers are not enrolled; their brand makes them tokens that end soon.")
    if enrolment.role in SIGNING_ROLES and enrolment.public_key is None:
        raise InvalidRequestError(f"A {enrolment.role.value} signs; enrol it with its public key.")
    if (enrolment.role is Role.BRAND_ADMIN) != (enrolment.brand is not None):
        raise InvalidRequestError("An admin of a brand is enrolled with the brand's name, nobody else is.")


def _brand(enrolment: Enrolment) -> str | None:
    return enrolment.name if enrolment.role is Role.BRAND else enrolment.brand


def _row(unit: Unit, role: Role, name: str, brand: str | None) -> PrincipalRow:
    query = select(PrincipalRow).where(PrincipalRow.role == role.value, PrincipalRow.name == name)
    row = unit.session.scalar(query)
    if row is None:
        row = PrincipalRow(role=role.value, name=name, brand=brand)
        unit.session.add(row)
    if row.brand != brand:
        raise ConflictError("This name is an admin of another brand; take another name.")
    return row
