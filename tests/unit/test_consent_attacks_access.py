"""Attacks by those who are let in: every route is replayed as another tenant, as another customer and by old keys.

`REPLAYS` says for each route what it would take to reach something of acme's; a route that it does not list fails.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute
from rights_desk import hold_round

from consent import errors
from consent.client import ConsentClient
from consent.contract import Act
from consent.credentials import ApiKeyRequest
from consent.rights import RequestKind, RightsRequest, Verification
from consent.searching import LogQuery
from consent.service.access import roles_of, scope_of
from consent.service.routes import ROUTERS
from consent.signals import TcString, VendorSet, encode_tc_string
from consent.wire import Role

PURPOSE = "conversion"
ANN, BOB, NOBODY = (hashlib.sha256(name).hexdigest() for name in (b"ann", b"bob", b"nobody"))
OF_ONE_BRAND = {Role.BRAND, Role.BRAND_ADMIN, Role.SUBJECT}
UNTIL = "2027-01-01T00:00:00Z"
GONE = "0" * 32
DAY = datetime(2026, 3, 1, tzinfo=UTC)
TC_STRING = encode_tc_string(
    TcString(
        created=DAY,
        last_updated=DAY,
        cmp_id=31,
        cmp_version=2,
        consent_screen=1,
        consent_language="EN",
        vendor_list_version=100,
        policy_version=5,
        publisher_country="DE",
        disclosed_vendors=VendorSet.of([1]),
    )
)
Make = Callable[["Target"], dict[str, Any]]


@dataclass(frozen=True)
class Target:
    """What a replayed request names: all of acme's, or things that do not exist at all."""

    brand: str
    subject: str
    ids: Mapping[str, str] = field(default_factory=dict)

    def customer(self, **others: Any) -> dict[str, Any]:
        return {"json": {"brand": self.brand, "subject": self.subject, **others}}

    def named(self, kind: str) -> str:
        return self.ids.get(kind, GONE)


def nothing(_: Target) -> dict[str, Any]:
    return {}


def customer(**others: Any) -> Make:
    return lambda target: target.customer(**others)


def choice(target: Target) -> dict[str, Any]:
    return {"brand": target.brand, "subject": target.subject, "act": "withdraw", "purpose": PURPOSE}


def purpose(_: Target) -> dict[str, Any]:
    return {"json": {"purpose": PURPOSE}}


def unspent(target: Target) -> dict[str, Any]:
    body = {"brand": target.brand, "run_id": "run", "round": 0, "purpose": PURPOSE, "stated_at": UNTIL}
    return {"json": {"body": body, "signer": "A" * 43 + "=", "signature": "A" * 86 + "=="}}


NAMING_A_BRAND: dict[str, Make] = {
    "GET /v1/brands/{brand}/coverage": nothing,
    "GET /v1/brands/{brand}/budgets": nothing,
    "GET /v1/brands/{brand}/signal-mapping": nothing,
    "PUT /v1/brands/{brand}/controller": lambda _: {
        "json": {
            "name": "Spy",
            "address": "Street 1",
            "contact": "privacy@spy.example",
            "jurisdiction": "DE",
            "storage_locations": ["DE"],
            "withdrawal_url": "https://spy.example/w",
            "rights_url": "https://spy.example/r",
            "authority": "BfDI",
        }
    },
    "POST /v1/choices": lambda target: {"json": {"idempotency_key": "k", "choices": [choice(target)]}},
    "POST /v1/decisions": lambda target: {
        "json": {"queries": [{"brand": target.brand, "subject": target.subject, "purpose": PURPOSE}]}
    },
    "POST /v1/confirmations": lambda target: {"json": {**choice(target), "act": "grant", "notice": "0" * 64}},
    "POST /v1/subjects/merge": customer(other=BOB),
    "POST /v1/subjects/unmerge": customer(other=BOB),
    "POST /v1/subjects/guardian": customer(guardian=BOB, until=UNTIL),
    "POST /v1/subjects/participation": customer(),
    "POST /v1/subjects/access": customer(),
    "POST /v1/subjects/access/page": customer(),
    "POST /v1/subjects/withdrawal": customer(),
    "POST /v1/subjects/objection": customer(),
    "POST /v1/receipts": customer(purpose=PURPOSE),
    "POST /v1/requests": customer(kind="access", verified_by="document"),
    "POST /v1/subject-tokens": customer(verified_by="letter"),
    "POST /v1/subject-tokens/revocation": customer(),
    "POST /v1/snapshots/proof": customer(purpose=PURPOSE),
    "POST /v1/signals/gpc": customer(header_values=["1"]),
    "POST /v1/signals/confirmation": customer(),
    "POST /v1/signals/tcf": customer(text=TC_STRING),
    "POST /v1/signals/gpp": customer(text="DBABLA~CAARAAAAAABA.YA"),
    "POST /v1/signals/export": customer(format="tcf"),
    "GET /v1/enrolment": lambda target: {"params": {"brand": target.brand}},
    "POST /v1/rounds/unspent": unspent,
    "POST /v1/log/search": lambda target: {"json": {"brand": target.brand, "subject": target.subject}},
}
"""Routes whose request names a brand: of another brand they say that there is no such thing."""
NAMING_A_THING: dict[str, Make] = {
    "POST /v1/api-keys/revocation": lambda target: {"json": {"key_id": target.named("key_id")}},
    "POST /v1/confirmations/confirm": lambda target: {"json": {"token": target.named("token")}},
    "POST /v1/requests/{request_id}/approve": nothing,
    "POST /v1/requests/{request_id}/reject": nothing,
    "DELETE /v1/webhooks/{webhook_id}": nothing,
}
"""Routes whose request names something that belongs to a brand."""
ABOUT_THE_CALLER: dict[str, Make] = {
    "GET /v1/api-keys": nothing,
    "GET /v1/remedies": nothing,
    "GET /v1/requests": nothing,
    "GET /v1/webhooks": nothing,
    "POST /v1/snapshots/current": purpose,
    "POST /v1/snapshots/current/head": purpose,
    "GET /v1/snapshots/current": lambda _: {"params": {"purpose": PURPOSE}},
    "GET /v1/snapshots/current/head": lambda _: {"params": {"purpose": PURPOSE}},
}
"""Routes that name nobody: they answer spy as they answer a brand that has just been enrolled."""
ELSEWHERE = {
    "GET /v1/keys": "the same for all",
    "GET /v1/models/withdrawn": "the same for all",
    "GET /v1/purposes": "the same for all",
    "GET /v1/notices": "the same for all",
    "GET /v1/notices/{digest}": "the same for all",
    "POST /v1/api-keys": "test_consent_api_keys.py",
    "POST /v1/webhooks": "makes something of the caller's own",
    "POST /v1/decisions/proof": "test_consent_answers.py",
    "POST /v1/imports": "test_an_import_names_no_brand_but_the_callers",
    "POST /v1/rosters": "test_a_roster_is_the_callers_own",
    "GET /v1/events": "test_consent_events.py; it streams without end",
}
ROUTES = {
    f"{method} {route.path}": route
    for router in ROUTERS
    for route in router.routes
    if isinstance(route, APIRoute)
    for method in route.methods
}
TENANTS = {name: route for name, route in ROUTES.items() if roles_of(route) & OF_ONE_BRAND}


@pytest.fixture
def world(consent_world: Any) -> Any:
    """Acme with Ann, who granted, and something of each kind; spy and novice with nothing."""
    consent_world.record("acme", Act.GRANT, ANN)
    consent_world.coordinator.seal_snapshots(PURPOSE, ["acme"])
    for brand in ("acme", "spy", "novice"):
        consent_world.brand_admin(brand)
        consent_world.brand(brand)
    return consent_world


def ids_of_acme(world: Any) -> dict[str, str]:
    acme = world.brand("acme")
    key = acme.create_api_key(ApiKeyRequest(label="crm", scopes=("get:keys",), days=1)).view
    wanted = RightsRequest(brand="acme", subject=ANN, kind=RequestKind.ERASURE, verified_by=Verification.DOCUMENT)
    token = acme.ask_confirmation(world.choice("acme", BOB, Act.GRANT)).token
    return {"key_id": key.key_id, "request_id": acme.ask_right(wanted).request_id, "token": token}


def tokens_of(world: Any, brand: str, roles: set[Role]) -> dict[Role, str]:
    """The tokens of a brand's own people and programs."""
    found = {Role.BRAND: world.tokens[brand], Role.BRAND_ADMIN: world.tokens[f"admin-of-{brand}"]}
    if Role.SUBJECT in roles:
        found[Role.SUBJECT] = world.customer(brand, NOBODY)._headers["Authorization"].removeprefix("Bearer ")
    return {role: token for role, token in found.items() if role in roles}


def send(world: Any, name: str, make: Make, token: str, target: Target) -> httpx.Response:
    method, _, template = name.partition(" ")
    path = template.replace("{brand}", target.brand)
    for kind in ("request_id", "webhook_id"):
        path = path.replace(f"{{{kind}}}", target.named(kind))
    headers = {"Authorization": f"Bearer {token}"}
    answer: httpx.Response = world.http.request(method, path, headers=headers, **make(target))
    return answer


def granted_at_acme(world: Any) -> int:
    return sum(line.granted for line in world.brand("acme").coverage("acme"))


def shown(answer: httpx.Response) -> tuple[int, bytes, dict[str, str]]:
    """Everything of an answer that a caller could tell two of them apart by, time apart."""
    return answer.status_code, answer.content, {**answer.headers}


def test_every_route_for_tenants_is_replayed() -> None:
    listed = [NAMING_A_BRAND, NAMING_A_THING, ABOUT_THE_CALLER, ELSEWHERE]
    assert sorted(TENANTS) == sorted(name for group in listed for name in group)


@pytest.mark.parametrize("name", NAMING_A_BRAND)
def test_row_10_and_11_another_brand_is_no_brand(world: Any, name: str) -> None:
    """Whether the brand exists, and whether the customer is known there, makes no difference to one byte."""
    targets = [Target("acme", ANN), Target("acme", NOBODY), Target("nobody", NOBODY)]
    for role, token in tokens_of(world, "spy", set(roles_of(ROUTES[name]))).items():
        answers = [send(world, name, NAMING_A_BRAND[name], token, target) for target in targets]
        assert {answer.status_code for answer in answers} == {404}, (role, answers[0].text)
        assert len({str(shown(answer)) for answer in answers}) == 1, role
        assert "acme" not in answers[0].text
    assert granted_at_acme(world) == 1


@pytest.mark.parametrize("name", NAMING_A_THING)
def test_row_10_and_11_what_is_another_brands_does_not_exist(world: Any, name: str) -> None:
    targets = [Target("acme", ANN, ids_of_acme(world)), Target("nobody", NOBODY)]
    for role, token in tokens_of(world, "spy", set(roles_of(ROUTES[name]))).items():
        answers = [send(world, name, NAMING_A_THING[name], token, target) for target in targets]
        assert {answer.status_code for answer in answers} == {404}, (role, answers[0].text)
        assert len({str(shown(answer)) for answer in answers}) == 1, role
    assert [one.revoked for one in world.brand("acme").api_keys()] == [False]


@pytest.mark.parametrize("name", ABOUT_THE_CALLER)
def test_row_10_who_names_nobody_is_answered_about_themselves(world: Any, name: str) -> None:
    ids_of_acme(world)
    roles = set(roles_of(ROUTES[name]))
    spy, novice = tokens_of(world, "spy", roles), tokens_of(world, "novice", roles)
    target = Target("acme", ANN)
    for role in spy:
        answers = [send(world, name, ABOUT_THE_CALLER[name], token[role], target) for token in (spy, novice)]
        assert str(shown(answers[0])) == str(shown(answers[1])), role
        for secret in ("acme", ANN, BOB):
            assert secret not in answers[0].text


@pytest.mark.parametrize("name", [name for name, route in TENANTS.items() if Role.SUBJECT in roles_of(route)])
def test_row_10_and_11_a_customer_is_alone_in_the_world(world: Any, name: str) -> None:
    """A customer asks about another one of their own brand, known or not."""
    ann = world.customer("acme", ANN)._headers["Authorization"].removeprefix("Bearer ")
    world.record("acme", Act.GRANT, BOB)
    make = NAMING_A_BRAND[name]
    answers = [send(world, name, make, ann, Target("acme", subject)) for subject in (BOB, NOBODY)]
    assert {answer.status_code for answer in answers} == {404}
    assert len({str(shown(answer)) for answer in answers}) == 1
    assert send(world, name, make, ann, Target("acme", ANN)).status_code != 404


def test_an_import_names_no_brand_but_the_callers(world: Any) -> None:
    line = b'{"brand": "acme", "subject": "%s", "act": "withdraw", "purpose": "%s"}\n' % (
        ANN.encode(),
        PURPOSE.encode(),
    )
    headers = {
        "Authorization": f"Bearer {world.tokens['spy']}",
        "Content-Type": "application/x-ndjson",
        "Idempotency-Key": "spy-1",
    }
    world.http.post("/v1/imports", content=line, headers=headers)
    assert granted_at_acme(world) == 1


def test_row_10_a_brand_finds_only_the_rounds_that_it_was_asked_for(world: Any) -> None:
    world.record("acme", Act.GRANT, BOB)
    hold_round(world)
    found = {
        brand: [hit.payload["kind"] for hit in world.brand(brand).search_log(LogQuery(run_id="run")).entries]
        for brand in ("acme", "spy")
    }
    assert found == {"acme": ["round_opened", "release_committed"], "spy": []}


@pytest.mark.parametrize("role", sorted(set(Role) - {Role.SUBJECT}))
def test_row_17_every_route_closes_to_keys_that_ended_and_to_what_they_were_not_made_for(
    world: Any, role: Role
) -> None:
    """A key with every scope there is: it opens what can be given away, and nothing once it ended."""
    maker = maker_of(world, role)
    scopes = tuple(sorted(world.app.state.scopes[role]))
    wanted = ApiKeyRequest(label="all", scopes=scopes, days=1)
    holds, revoked, expired = (maker.create_api_key(wanted) for _ in range(3))
    maker.revoke_api_key(revoked.view.key_id)
    routes = {name: route for name, route in ROUTES.items() if roles_of(route)}
    for name in routes.keys() - {"GET /v1/events"}:
        answer = ask(world, name, holds.key)
        in_scope = role in roles_of(routes[name]) and scope_of(routes[name]) in scopes
        assert answer.status_code != 401, name
        assert ("may not do this" in answer.text or "not made for this" in answer.text) != in_scope, name
    world.clock.advance(86_400)
    for name in routes:
        assert [ask(world, name, made.key).status_code for made in (revoked, expired)] == [401, 401], name
    for scope in scopes:
        assert scope.partition(":")[2].partition("/")[0] not in {"api-keys", "principals"}


def ask(world: Any, name: str, token: str) -> httpx.Response:
    make = {**NAMING_A_BRAND, **NAMING_A_THING, **ABOUT_THE_CALLER}.get(name, nothing)
    return send(world, name, make, token, Target("nobody", NOBODY))


def test_a_roster_is_the_callers_own(world: Any) -> None:
    for brand, members in (("acme", 1), ("spy", 0)):
        headers = {"Authorization": f"Bearer {world.tokens[brand]}"}
        view = world.http.post("/v1/rosters", json={"purpose": PURPOSE}, headers=headers)
        assert view.json()["head"]["body"]["brand"] == brand
        assert view.text.count(ANN) == members


def maker_of(world: Any, role: Role) -> ConsentClient:
    if role is Role.OPERATOR:
        return world.operator  # type: ignore[no-any-return]
    if role is Role.BRAND_ADMIN:
        return world.brand_admin("acme")  # type: ignore[no-any-return]
    if role is Role.BRAND:
        return world.brand("acme")  # type: ignore[no-any-return]
    return world.enrol(role, f"a-{role.value}")  # type: ignore[no-any-return]


def test_row_17_an_auditor_opens_no_customers_entry(world: Any) -> None:
    with pytest.raises(errors.ForbiddenError):
        world.auditor.search_log(LogQuery(brand="acme", subject=ANN))
    for query in (LogQuery(), LogQuery(brand="acme"), LogQuery(kind="choice_recorded")):
        seen = world.auditor.search_log(query).entries
        assert ANN not in str([hit.payload for hit in seen])
        assert not any(hit.payload["kind"] == "choice_recorded" for hit in seen)
    assert world.officer.search_log(LogQuery(kind="choice_recorded")).entries


def test_row_17_only_an_operator_enrols_and_by_their_token_alone(world: Any) -> None:
    key = world.operator.create_api_key(
        ApiKeyRequest(label="deploy", scopes=tuple(sorted(world.app.state.scopes[Role.OPERATOR])), days=1)
    ).key
    clients = [world.officer, world.auditor, world.coordinator, world.brand("acme"), world.brand_admin("acme")]
    for client in [*clients, world.customer("acme", ANN), ConsentClient(world.http, key)]:
        for role in Role:
            with pytest.raises(errors.ForbiddenError):
                client.enrol(role, "eve", world.keys["acme"].public_key)
