"""People by OpenID Connect: what their provider signed for this service is taken, and nothing else."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from pydantic import ValidationError
from rights_desk import request
from sqlalchemy import update

from consent import errors
from consent.client import ConsentClient
from consent.contract import Act
from consent.credentials import ApiKeyRequest
from consent.rights import AccessRequest, RequestKind, RequestState
from consent.searching import LogQuery
from consent.service.oidc import REFRESH_SECONDS, KeySet, OidcVerifier
from consent.settings import OidcRole, OidcSetting
from consent.store.schema import PrincipalRow
from consent.wire import Role

ISSUER = "https://people.example"
AUDIENCE = "confide"
ANN = hashlib.sha256(b"ann").hexdigest()
ROLES = (
    OidcRole(value="privacy", role=Role.OFFICER),
    OidcRole(value="audit", role=Role.AUDITOR),
    OidcRole(value="acme-admins", role=Role.BRAND_ADMIN, brand="acme"),
)
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
FOREIGN = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def public(algorithm: Any, key: Any, kid: str, **fields: str) -> dict[str, Any]:
    return {**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, "use": "sig", **fields}


class Provider:
    """An identity provider: a key set over HTTP that can be changed or taken away, and tokens under its keys."""

    def __init__(self, url: str) -> None:
        self.setting = OidcSetting(issuer=ISSUER, audience=AUDIENCE, jwks_url=url, roles=ROLES)
        self.asked = 0
        self.status = 200
        self.body: bytes | None = None
        self.keys = [
            public(RSAAlgorithm, RSA, "rsa", alg="RS256"),
            public(ECAlgorithm, EC, "ec", alg="ES256"),
            public(OKPAlgorithm, ED, "ed", alg="EdDSA"),
        ]

    def answer(self) -> tuple[int, bytes]:
        self.asked += 1
        return self.status, self.body or json.dumps({"keys": self.keys}).encode()

    def token(self, key: Any = RSA, algorithm: str = "RS256", kid: str | None = "rsa", **claims: Any) -> str:
        headers = {"kid": kid} if kid else {}
        return jwt.encode(content(**claims), key, algorithm=algorithm, headers=headers)


def content(**claims: Any) -> dict[str, Any]:
    now = int(time.time())
    usual = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "iat": now, "exp": now + 600, "groups": ["privacy"]}
    return {name: value for name, value in {**usual, **claims}.items() if value is not None}


@contextmanager
def serving(answer: Callable[[], tuple[int, bytes]]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answer()
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/keys"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def provider() -> Iterator[Provider]:
    holder: list[Provider] = []
    with serving(lambda: holder[0].answer()) as url:  # noqa: PLW0108 - there is none yet
        holder.append(Provider(url))
        yield holder[0]


@pytest.fixture
def verifier(provider: Provider) -> OidcVerifier:
    return OidcVerifier(provider.setting)


@pytest.mark.parametrize(
    ("key", "algorithm", "kid"),
    [(RSA, "RS256", "rsa"), (EC, "ES256", "ec"), (ED, "EdDSA", "ed")],
    ids=["rsa", "ec", "ed"],
)
def test_tokens_under_each_of_the_three_algorithms_are_taken(
    provider: Provider, verifier: OidcVerifier, key: Any, algorithm: str, kid: str
) -> None:
    person = verifier.verify(provider.token(key, algorithm, kid))
    assert (person.role, person.brand) == (Role.OFFICER, None)
    assert "ann" not in person.name
    verifier.verify(provider.token(key, algorithm, kid))
    assert provider.asked == 1


def test_a_claim_maps_to_one_role_of_one_brand(provider: Provider, verifier: OidcVerifier) -> None:
    admin = verifier.verify(provider.token(groups=["staff", "acme-admins"]))
    assert (admin.role, admin.brand) == (Role.BRAND_ADMIN, "acme")
    assert verifier.verify(provider.token(groups="audit")).role is Role.AUDITOR
    same, other = verifier.verify(provider.token()), verifier.verify(provider.token(sub="bob"))
    assert same.name == verifier.verify(provider.token()).name != other.name
    assert admin.name != same.name
    assert admin.id == same.id != other.id
    assert "ann" not in repr(same) + same.id


def unsigned() -> str:
    return jwt.encode(content(), None, algorithm="none", headers={"kid": "rsa"})


def part(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed_with_the_public_key() -> str:
    """Take the public key for a shared secret (RFC 8725, section 2.1)."""
    pem = RSA.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    text = f"{part({'alg': 'HS256', 'kid': 'rsa', 'typ': 'JWT'})}.{part(content())}"
    return f"{text}.{part(hmac.digest(pem, text.encode(), hashlib.sha256))}"


def with_a_key_of_its_own() -> str:
    """Bring the key along, in the header and by address."""
    own = public(RSAAlgorithm, FOREIGN, "own")
    headers = {"kid": "own", "jwk": own, "jku": "http://127.0.0.1:1/keys"}
    return jwt.encode(content(), FOREIGN, algorithm="RS256", headers=headers)


def edited() -> str:
    head, body, signature = jwt.encode(
        content(groups=["audit"]), RSA, algorithm="RS256", headers={"kid": "rsa"}
    ).split(".")
    assert body
    return f"{head}.{part(content())}.{signature}"


def token(key: Any = RSA, algorithm: str = "RS256", kid: str | None = "rsa", **claims: Any) -> str:
    return jwt.encode(content(**claims), key, algorithm=algorithm, headers={"kid": kid} if kid else {})


NOW = int(time.time())
REFUSED: dict[str, Callable[[], str]] = {
    "unsigned": unsigned,
    "public key as a secret": signed_with_the_public_key,
    "a key of its own": with_a_key_of_its_own,
    "edited": edited,
    "another key under this name": lambda: token(FOREIGN),
    "another algorithm of the key": lambda: token(RSA, "PS256"),
    "an algorithm that is not listed": lambda: token(RSA, "RS512"),
    "a key of another algorithm": lambda: token(EC, "ES256", "rsa"),
    "no key named": lambda: token(kid=None),
    "an unknown key": lambda: token(kid="new"),
    "another issuer": lambda: token(iss="https://people.example.org"),
    "another audience": lambda: token(aud="crm"),
    "ended": lambda: token(exp=NOW - 300),
    "not yet": lambda: token(nbf=NOW + 7_200),
    "of the future": lambda: token(iat=NOW + 7_200),
    "no end": lambda: token(exp=None),
    "no issuer": lambda: token(iss=None),
    "no audience": lambda: token(aud=None),
    "no subject": lambda: token(sub=None),
    "a subject that is no text": lambda: token(sub=["ann"]),
    "no time of issue": lambda: token(iat=None),
    "no role": lambda: token(groups=["staff"]),
    "no claim": lambda: token(groups=None),
    "two roles": lambda: token(groups=["privacy", "audit"]),
    "a claim that is an object": lambda: token(groups={"privacy": True}),
    "a claim with objects": lambda: token(groups=[{"privacy": True}]),
    "half a token": lambda: token().rpartition(".")[0] + ".",
    "no token": lambda: "a.b.c",
}


@pytest.mark.parametrize("forged", REFUSED.values(), ids=REFUSED)
def test_row_17_what_the_provider_did_not_sign_for_this_service_is_refused(
    verifier: OidcVerifier, forged: Callable[[], str]
) -> None:
    with pytest.raises(errors.UnauthenticatedError) as refused:
        verifier.verify(forged())
    assert "ann" not in str(refused.value)


def test_clocks_may_differ_by_half_a_minute(provider: Provider, verifier: OidcVerifier) -> None:
    now = int(time.time())
    assert verifier.verify(provider.token(exp=now - 5, iat=now - 600))
    assert verifier.verify(provider.token(iat=now + 10, nbf=now + 10))


def test_a_shared_secret_in_the_key_set_is_not_used(provider: Provider, verifier: OidcVerifier) -> None:
    secret = b"s" * 32
    provider.keys.append({"kty": "oct", "k": part(secret), "kid": "shared", "alg": "HS256", "use": "sig"})
    with pytest.raises(errors.UnauthenticatedError):
        verifier.verify(jwt.encode(content(), secret, algorithm="HS256", headers={"kid": "shared"}))


def test_a_new_key_is_found_and_unknown_ones_do_not_make_the_provider_be_asked_over_and_over(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1_000.0]
    monkeypatch.setattr("jwt.jwks_client.time.monotonic", lambda: clock[0])
    verifier = OidcVerifier(provider.setting, keys=KeySet(provider.setting.jwks_url))
    verifier.verify(provider.token())
    for number in range(50):
        with pytest.raises(errors.UnauthenticatedError):
            verifier.verify(provider.token(FOREIGN, kid=f"made-up-{number}"))
    assert provider.asked == 1
    provider.keys = [public(RSAAlgorithm, FOREIGN, "next", alg="RS256")]
    clock[0] += REFRESH_SECONDS + 1
    assert verifier.verify(provider.token(FOREIGN, kid="next"))
    assert provider.asked == 2
    with pytest.raises(errors.UnauthenticatedError):
        verifier.verify(provider.token())


@pytest.mark.parametrize(
    ("status", "body"),
    [(500, b"down"), (200, b"<html>"), (200, b"[]"), (200, b'{"keys": []}'), (302, b""), (200, b"\xff\xfe")],
    ids=["down", "a page", "no object", "no keys", "elsewhere", "no text"],
)
def test_a_provider_that_gives_no_keys_lets_nobody_in_and_is_left_alone(
    provider: Provider, status: int, body: bytes
) -> None:
    clock = [1_000.0]
    verifier = OidcVerifier(provider.setting, keys=KeySet(provider.setting.jwks_url, now=lambda: clock[0]))
    provider.status, provider.body = status, body
    for _ in range(20):
        with pytest.raises(errors.UnauthenticatedError):
            verifier.verify(provider.token())
    assert provider.asked == 1
    provider.status, provider.body = 200, None
    clock[0] += REFRESH_SECONDS + 1
    assert verifier.verify(provider.token())


@pytest.mark.parametrize(
    "values",
    [
        {"jwks_url": "http://people.example/keys"},
        {"jwks_url": "file:///etc/passwd"},
        {"jwks_url": "http://localhost.people.example/keys"},
        {"roles": ()},
        {"roles": ({"value": "root", "role": "operator"},)},
        {"roles": ({"value": "agents", "role": "brand", "brand": "acme"},)},
        {"roles": ({"value": "admins", "role": "brand_admin"},)},
        {"roles": ({"value": "privacy", "role": "officer", "brand": "acme"},)},
        {"issuer": ""},
    ],
    ids=range(9),
)
def test_settings_that_would_let_too_many_in_are_refused(values: dict[str, Any]) -> None:
    usual = {"issuer": ISSUER, "audience": AUDIENCE, "jwks_url": "https://people.example/keys", "roles": ROLES}
    assert OidcSetting.model_validate(usual)
    with pytest.raises(ValidationError):
        OidcSetting.model_validate({**usual, **values})


def test_a_person_is_a_principal_from_their_first_request_on(consent_worlds: Any, provider: Provider) -> None:
    world = consent_worlds(oidc=provider.setting)
    world.brand("acme")
    with ThreadPoolExecutor(4) as pool:
        officer = ConsentClient(world.http, provider.token())
        views = list(pool.map(lambda _: officer.coverage("acme"), range(4)))
    assert len(views) == 4
    admin = ConsentClient(world.http, provider.token(sub="bob", groups=["acme-admins"]))
    assert admin.coverage("acme") == ()
    for act in (lambda: admin.coverage("bravo"), lambda: admin.budgets("bravo")):
        with pytest.raises(errors.NotFoundError):
            act()
    with pytest.raises(errors.ForbiddenError):
        admin.search_log(LogQuery())
    enrolled = officer.search_log(LogQuery(kind="principal_enrolled")).entries
    by_provider = [hit.payload for hit in enrolled if hit.payload.get("by") == "identity_provider"]
    assert [(one["role"], one["brand"]) for one in by_provider] == [("officer", None), ("brand_admin", "acme")]
    assert "ann" not in json.dumps(by_provider)


def test_nobody_is_asked_and_no_such_token_taken_unless_a_provider_is_configured(
    consent_world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr("jwt.PyJWKClient.fetch_data", fail)
    with pytest.raises(errors.UnauthenticatedError):
        ConsentClient(consent_world.http, token()).coverage("acme")


@pytest.fixture
def office(consent_worlds: Any, database_url: str, provider: Provider) -> Any:
    """A service that knows people by their provider, and one customer."""
    world = consent_worlds(database_url=database_url, oidc=provider.setting)
    world.declare("conversion")
    world.record("acme", Act.GRANT, ANN)
    return world


def desk(maker: ConsentClient) -> str:
    """Have somebody make a key with which requests are asked for and decided."""
    scopes = ("post:requests", "post:requests/approve")
    return maker.create_api_key(ApiKeyRequest(label="desk", scopes=scopes, days=1)).key


@pytest.mark.parametrize(("before", "after"), [("acme-admins", "privacy"), ("privacy", "acme-admins")])
def test_row_27_who_gets_another_role_from_the_provider_is_still_one_person(
    office: Any, provider: Provider, before: str, after: str
) -> None:
    wanted = request(ANN, RequestKind.ACCESS)
    asker = ConsentClient(office.http, provider.token(groups=[before]))
    by_key = ConsentClient(office.http, desk(asker))
    asked = [asker.ask_right(wanted), by_key.ask_right(wanted)]
    same = ConsentClient(office.http, provider.token(groups=[after]))
    for decider in (same, ConsentClient(office.http, desk(same))):
        for one in asked:
            with pytest.raises(errors.ForbiddenError, match="Somebody else"):
                decider.approve_request(one.request_id)
    other = ConsentClient(office.http, provider.token(sub="bob", groups=[after]))
    assert other.approve_request(asked[0].request_id).state is RequestState.APPROVED
    named = AccessRequest(brand="acme", subject=ANN, request_id=asked[0].request_id)
    with pytest.raises(errors.ForbiddenError):
        same.access(named)
    assert asker.access(named).subject == ANN


def test_row_27_people_from_before_persons_were_kept_are_recognised_in_every_role_they_had(
    office: Any, provider: Provider
) -> None:
    wanted = request(ANN, RequestKind.ACCESS)
    admin = ConsentClient(office.http, provider.token(groups=["acme-admins"]))
    key = ConsentClient(office.http, desk(admin))
    by_officer = office.officer.ask_right(wanted)
    with office.app.state.workplace.database.writing() as session:
        session.execute(update(PrincipalRow).values(person=None))
    office.clock.advance()
    for act in (lambda: key.ask_right(wanted), lambda: key.approve_request(by_officer.request_id)):
        with pytest.raises(errors.ForbiddenError, match="sign in once more"):
            act()
    officer = ConsentClient(office.http, provider.token())
    assert officer.coverage("acme")
    office.clock.advance()
    asked = key.ask_right(wanted)
    with pytest.raises(errors.ForbiddenError, match="Somebody else"):
        officer.approve_request(asked.request_id)
    assert key.approve_request(by_officer.request_id).state is RequestState.APPROVED
    enrolled = officer.search_log(LogQuery(kind="principal_enrolled")).entries
    assert [hit.payload.get("by") for hit in enrolled].count("identity_provider") == 2
