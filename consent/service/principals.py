"""Who may call: enrolment and bearer tokens, of which only hashes are kept."""

import hashlib
import secrets

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from consent.errors import InvalidRequestError, UnauthenticatedError
from consent.service.work import Caller, Unit
from consent.store import Database
from consent.store.schema import PrincipalRow
from consent.wire import Enrolment, Role

TOKEN_BYTES = 32
SIGNING_ROLES = (Role.BRAND, Role.COORDINATOR)
BY_TOKEN = select(PrincipalRow.id, PrincipalRow.role, PrincipalRow.name, PrincipalRow.public_key).where(
    PrincipalRow.token_hash == bindparam("token_hash")
)


def enrol(unit: Unit, enrolment: Enrolment) -> str:
    """Enrol a principal, or give an enrolled one a new token and key; return the token.

    Raises:
        InvalidRequestError: a role that signs brings no public key.
    """
    if enrolment.role in SIGNING_ROLES and enrolment.public_key is None:
        raise InvalidRequestError(f"A {enrolment.role.value} signs; enrol it with its public key.")
    token = secrets.token_urlsafe(TOKEN_BYTES)
    index = unit.log("principal_enrolled", enrolment.model_dump(mode="json"))
    row = unit.session.scalar(
        select(PrincipalRow).where(PrincipalRow.role == enrolment.role.value, PrincipalRow.name == enrolment.name)
    )
    if row is None:
        row = PrincipalRow(role=enrolment.role.value, name=enrolment.name)
        unit.session.add(row)
    row.token_hash = _hash(token)
    row.public_key = enrolment.public_key
    row.log_index = index
    unit.session.flush()
    return token


def authenticate(database: Database, token: str) -> Caller:
    """Return the principal that holds a token.

    Raises:
        UnauthenticatedError: nobody does.
    """
    with database.engine.connect() as connection:
        row = connection.execute(BY_TOKEN, {"token_hash": _hash(token)}).one_or_none()
    if row is None:
        raise UnauthenticatedError("The token is not enrolled; ask the operator for a new one.")
    return Caller(id=row.id, role=Role(row.role), name=row.name, public_key=row.public_key)


def brand_keys(session: Session, brands: tuple[str, ...]) -> dict[str, str]:
    """Return the enrolled public key of each brand that has one."""
    rows = session.execute(
        select(PrincipalRow.name, PrincipalRow.public_key).where(
            PrincipalRow.role == Role.BRAND.value, PrincipalRow.name.in_(brands)
        )
    )
    return {name: key for name, key in rows if key is not None}


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
