"""People of the organisation, by OpenID Connect: bearer tokens that its identity provider signed.

Tokens are JWTs (RFC 7519) checked by PyJWT against the provider's key set, as RFC 8725 asks: algorithms of public
keys alone, issuer and audience demanded, keys from one configured address and never from a token. Which claim
makes somebody what, the settings say; who maps to no role, or to two, is nobody.
"""

import hashlib
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jwt
from sqlalchemy import select

from consent.errors import UnauthenticatedError
from consent.service.principals import token_hash
from consent.service.work import Caller, Unit, Workplace
from consent.settings import OidcRole, OidcSetting
from consent.store.schema import PrincipalRow
from consent.wire import Role

ALGORITHMS = ("RS256", "ES256", "EdDSA")
REQUIRED = ("iss", "aud", "sub", "exp", "iat")
LEEWAY_SECONDS = 30
KEYS_HOLD_SECONDS = 300
REFRESH_SECONDS = 30
"""Between two looks for a key that is not known, or at a provider that does not answer."""
TIMEOUT_SECONDS = 5
ID_DIGITS = 40


class Person(NamedTuple):
    """A person as their provider knows them, under a name that does not tell who they are."""

    name: str
    role: Role
    brand: str | None


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
        return Person(_name(claims, roles[0]), roles[0].role, roles[0].brand)


def known_person(work: Workplace, person: Person) -> Caller:
    """Return a person as a principal, which they become when they are first seen."""
    with work.reading() as unit:
        found = _caller(unit, person)
    if found is not None:
        return found
    with work.writing() as unit:
        unit.lock()
        return _caller(unit, person) or _welcome(unit, person)


def _caller(unit: Unit, person: Person) -> Caller | None:
    number = unit.session.scalar(
        select(PrincipalRow.id).where(PrincipalRow.role == person.role.value, PrincipalRow.name == person.name)
    )
    if number is None:
        return None
    return Caller(id=number, role=person.role, name=person.name, public_key=None, brand=person.brand)


def _welcome(unit: Unit, person: Person) -> Caller:
    content = {"role": person.role.value, "name": person.name, "brand": person.brand, "by": "identity_provider"}
    row = PrincipalRow(
        role=person.role.value,
        name=person.name,
        brand=person.brand,
        token_hash=token_hash(unit.random_bytes(32).hex()),
        expires_at=None,
        public_key=None,
        log_index=unit.log("principal_enrolled", content),
    )
    unit.session.add(row)
    unit.session.flush()
    return Caller(id=row.id, role=person.role, name=person.name, public_key=None, brand=person.brand)


def _name(claims: dict[str, Any], mapping: OidcRole) -> str:
    """Name one person in one role of one brand; a JWT's `sub` is unique within its issuer (RFC 7519, 4.1.2)."""
    who = "\n".join((claims["iss"], claims["sub"], mapping.brand or ""))
    return f"oidc-{hashlib.sha256(who.encode()).hexdigest()[:ID_DIGITS]}"
