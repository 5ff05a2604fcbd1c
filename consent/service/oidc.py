"""People of the organisation, by OpenID Connect: bearer tokens that its identity provider signed.

Tokens are JWTs (RFC 7519) checked by PyJWT against the provider's key set, as RFC 8725 asks: algorithms of public
keys alone, issuer and audience demanded, keys from one configured address and never from a token. Which claim
makes somebody what, the settings say; who maps to no role, or to two, is nobody.

A person is a principal in each role of each brand that the provider ever gave them, and the same person in all.
"""

import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jwt
from sqlalchemy import select

from consent.errors import UnauthenticatedError
from consent.service.principals import token_hash
from consent.service.work import Caller, Unit, Workplace
from consent.settings import OidcSetting
from consent.store.schema import PrincipalRow
from consent.wire import Role

ALGORITHMS = ("RS256", "ES256", "EdDSA")
REQUIRED = ("iss", "aud", "sub", "exp", "iat")
LEEWAY_SECONDS = 30
KEYS_HOLD_SECONDS = 300
REFRESH_SECONDS = 30
"""Between two looks for a key that is not known, or at a provider that does not answer."""
TIMEOUT_SECONDS = 5
PREFIX = "oidc-"
ID_DIGITS = 40


@dataclass(frozen=True)
class Person:
    """A person as their provider knows them; a JWT's `sub` is unique within its issuer (RFC 7519, 4.1.2)."""

    issuer: str = field(repr=False)
    subject: str = field(repr=False)
    role: Role
    brand: str | None

    @property
    def id(self) -> str:
        """A hash that is theirs in whatever role."""
        return _hash(self.issuer, self.subject)

    @property
    def name(self) -> str:
        """Their name as a principal, which does not tell who they are."""
        return self.name_at(self.brand)

    def name_at(self, brand: str | None) -> str:
        """Return their name where they are of a brand, or of none."""
        return f"{PREFIX}{_hash(self.issuer, self.subject, brand or '')[:ID_DIGITS]}"


class KeySet(jwt.PyJWKClient):
    """The provider's keys, fetched when first needed; a provider that fails is left alone for a while."""

    def __init__(self, url: str, *, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__(
            url, lifespan=KEYS_HOLD_SECONDS, timeout=TIMEOUT_SECONDS, cooldown_duration=REFRESH_SECONDS
        )
        self._now = now
        self._failed_at: float | None = None
        self._fetching = threading.Lock()

    def fetch_data(self) -> Any:  # noqa: ANN401 - as the library has it
        """Fetch the keys, unless that failed a moment ago."""
        with self._fetching:
            if self._failed_at is not None and self._now() - self._failed_at < REFRESH_SECONDS:
                raise jwt.PyJWKClientConnectionError("The identity provider did not answer a moment ago.")
            try:
                found = super().fetch_data()
            except (jwt.PyJWTError, ValueError, OSError) as error:
                self._failed_at = self._now()
                raise jwt.PyJWKClientConnectionError("The identity provider gives no usable keys.") from error
            self._failed_at = None
            return found


class OidcVerifier:
    """Checks tokens of one provider."""

    def __init__(self, setting: OidcSetting, *, keys: jwt.PyJWKClient | None = None) -> None:
        self._setting = setting
        self._keys = keys or KeySet(setting.jwks_url)

    def verify(self, token: str) -> Person:
        """Return the person that a token is about.

        Raises:
            UnauthenticatedError: it is not signed by the provider for this service, not of this time, or its
                claims give no role, or several.
        """
        try:
            key = self._keys.get_signing_key_from_jwt(token)
            claims = jwt.decode(
                token,
                key,
                algorithms=list(ALGORITHMS),
                issuer=self._setting.issuer,
                audience=self._setting.audience,
                leeway=LEEWAY_SECONDS,
                options={"require": list(REQUIRED)},
            )
        except jwt.PyJWTError as error:
            raise UnauthenticatedError(
                "The identity provider's token does not hold here; sign in again, for this service."
            ) from error
        return self._person(claims)

    def _person(self, claims: dict[str, Any]) -> Person:
        given = claims.get(self._setting.claim)
        values = given if isinstance(given, list) else [given]
        roles = [mapping for mapping in self._setting.roles if mapping.value in values]
        if len(roles) != 1:
            raise UnauthenticatedError(
                "The identity provider's token gives no role here, or several; have exactly one assigned."
            )
        return Person(claims["iss"], claims["sub"], roles[0].role, roles[0].brand)


def known_person(work: Workplace, person: Person) -> Caller:
    """Return a person as a principal, which they become when they are first seen."""
    with work.reading() as unit:
        found = _caller(unit, person)
    if found is not None:
        return found
    with work.writing() as unit:
        unit.lock()
        _recognise(unit, person)
        return _caller(unit, person) or _welcome(unit, person)


def is_from_provider(name: str) -> bool:
    """Tell whether a principal of this name is a person whom the provider knows."""
    return name.startswith(PREFIX)


def _caller(unit: Unit, person: Person) -> Caller | None:
    number = unit.session.scalar(
        select(PrincipalRow.id).where(
            PrincipalRow.role == person.role.value,
            PrincipalRow.name == person.name,
            PrincipalRow.person == person.id,
        )
    )
    return None if number is None else _as_caller(person, number)


def _as_caller(person: Person, number: int) -> Caller:
    return Caller(
        id=number,
        role=person.role,
        name=person.name,
        public_key=None,
        brand=person.brand,
        person=person.id,
    )


def _recognise(unit: Unit, person: Person) -> None:
    """Say of a person's principals from before persons were kept whose they are, whatever their roles."""
    unknown = PrincipalRow.person.is_(None), PrincipalRow.name.startswith(PREFIX)
    for row in unit.session.scalars(select(PrincipalRow).where(*unknown)):
        if row.name == person.name_at(row.brand):
            row.person = person.id
    unit.session.flush()


def _welcome(unit: Unit, person: Person) -> Caller:
    content = {"role": person.role.value, "name": person.name, "brand": person.brand, "by": "identity_provider"}
    row = PrincipalRow(
        role=person.role.value,
        name=person.name,
        brand=person.brand,
        token_hash=token_hash(unit.random_bytes(32).hex()),
        expires_at=None,
        public_key=None,
        person=person.id,
        log_index=unit.log("principal_enrolled", content),
    )
    unit.session.add(row)
    unit.session.flush()
    return _as_caller(person, row.id)


def _hash(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
