"""Who is let in where, and that nothing of what was sent comes back or is written down."""

import hashlib
import json
import logging
from collections import defaultdict
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute

from consent import errors
from consent.client import ConsentClient
from consent.contract import Act, DecisionQuery
from consent.credentials import SubjectTokenRequest
from consent.rights import AccessRequest, Objection, ReceiptRequest, RequestKind, RightsRequest, Verification
from consent.service.access import roles_of
from consent.service.routes import ROUTERS
from consent.wire import Role

PURPOSE = "conversion"
CANARY = hashlib.sha256(b"canary").hexdigest()
ERASURE = RightsRequest(brand="acme", subject=CANARY, kind=RequestKind.ERASURE, verified_by=Verification.DOCUMENT)
OPEN = {
    "/healthz",
    "/readyz",
    "/.well-known/gpc.json",
    "/v1/log/proofs/{index}",
    "/v1/log/consistency/{old_size}/{new_size}",
    "/v1/log/{path:path}",
}
PRINCIPALS = set(Role) - {Role.SUBJECT}
CUSTOMER_SIDE = {Role.OFFICER, Role.BRAND, Role.BRAND_ADMIN, Role.SUBJECT}
ALLOWED = {
    "/v1/api-keys": PRINCIPALS,
    "/v1/api-keys/revocation": PRINCIPALS,
    "/v1/subject-tokens": {Role.BRAND, Role.BRAND_ADMIN},
    "/v1/subject-tokens/revocation": {Role.BRAND, Role.BRAND_ADMIN, Role.SUBJECT},
    "/v1/principals": {Role.OPERATOR},
    "/v1/purposes": {Role.OPERATOR},
    "GET /v1/purposes": PRINCIPALS,
    "/v1/notices": {Role.OPERATOR, Role.OFFICER},
    "GET /v1/notices": PRINCIPALS,
    "/v1/notices/{digest}": PRINCIPALS,
    "/v1/choices": {Role.BRAND},
    "/v1/decisions": {Role.BRAND},
    "/v1/decisions/proof": {Role.OFFICER, Role.AUDITOR, Role.BRAND, Role.BRAND_ADMIN},
    "/v1/imports": {Role.BRAND},
    "/v1/snapshots": {Role.COORDINATOR},
    "/v1/snapshots/current": {Role.BRAND},
    "/v1/snapshots/current/head": {Role.BRAND},
    "/v1/snapshots/proof": CUSTOMER_SIDE,
    "/v1/rosters": {Role.BRAND},
    "/v1/events": {Role.BRAND},
    "/v1/enrolment": {Role.COORDINATOR, Role.OFFICER, Role.AUDITOR, Role.BRAND},
    "/v1/tasks": {Role.OFFICER},
    "/v1/tasks/remedy": {Role.OFFICER},
    "/v1/rounds": {Role.COORDINATOR},
    "/v1/rounds/setup": {Role.COORDINATOR},
    "/v1/rounds/closing": {Role.COORDINATOR},
    "/v1/rounds/abandonment": {Role.COORDINATOR},
    "/v1/rounds/unspent": {Role.BRAND},
    "/v1/releases": {Role.COORDINATOR},
    "/v1/remedies": {Role.OFFICER, Role.AUDITOR, Role.BRAND, Role.BRAND_ADMIN},
    "/v1/remedies/closing": {Role.OFFICER},
    "/v1/models/withdrawn": PRINCIPALS - {Role.OPERATOR},
    "/v1/runs/{run_id}": {Role.OFFICER, Role.AUDITOR, Role.COORDINATOR},
    "/v1/brands/{brand}/coverage": {Role.OFFICER, Role.BRAND, Role.BRAND_ADMIN},
    "/v1/brands/{brand}/budgets": PRINCIPALS - {Role.OPERATOR},
    "/v1/log/search": {Role.OFFICER, Role.AUDITOR, Role.BRAND},
    "/v1/subjects/participation": {Role.OFFICER, Role.BRAND},
    "/v1/subjects/access": CUSTOMER_SIDE,
    "/v1/subjects/access/page": CUSTOMER_SIDE,
    "/v1/subjects/withdrawal": CUSTOMER_SIDE,
    "/v1/subjects/objection": CUSTOMER_SIDE,
    "/v1/receipts": CUSTOMER_SIDE,
    "/v1/requests": CUSTOMER_SIDE - {Role.SUBJECT},
    "/v1/requests/{request_id}/approve": CUSTOMER_SIDE - {Role.SUBJECT},
    "/v1/requests/{request_id}/reject": CUSTOMER_SIDE - {Role.SUBJECT},
    "/v1/brands/{brand}/controller": CUSTOMER_SIDE - {Role.SUBJECT},
    "/v1/subjects/merge": {Role.BRAND},
    "/v1/subjects/unmerge": {Role.BRAND},
    "/v1/subjects/guardian": {Role.BRAND},
    "/v1/signals/gpc": {Role.BRAND},
    "/v1/signals/tcf": {Role.BRAND},
    "/v1/signals/gpp": {Role.BRAND},
    "/v1/signals/export": {Role.BRAND},
    "/v1/signals/confirmation": {Role.BRAND},
    "/v1/brands/{brand}/signal-mapping": {Role.OFFICER},
    "GET /v1/brands/{brand}/signal-mapping": CUSTOMER_SIDE - {Role.SUBJECT},
    "/v1/confirmations": {Role.BRAND},
    "/v1/confirmations/confirm": {Role.BRAND},
    "/v1/keys": PRINCIPALS,
    "/v1/webhooks": {Role.BRAND_ADMIN},
    "GET /v1/webhooks": {Role.BRAND, Role.BRAND_ADMIN},
    "/v1/webhooks/{webhook_id}": {Role.BRAND_ADMIN},
    "/metrics": {Role.OPERATOR},
}
"""Who may ask, by path; by method and path where methods differ."""
ROUTES = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
GUARDED = [route for route in ROUTES if route.path not in OPEN]


def send(world: Any, route: APIRoute, token: str | None) -> httpx.Response:
    (method,) = route.methods
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    path = route.path.format_map(defaultdict(lambda: "0" * 64, run_id="run", brand="acme"))
    response: httpx.Response = world.http.request(method, path, headers=headers, json={})
    return response


def allowed(route: APIRoute) -> set[Role]:
    (method,) = route.methods
    found = ALLOWED.get(f"{method} {route.path}")
    return ALLOWED[route.path] if found is None else found


def token_of_each_role(world: Any) -> dict[Role, str]:
    for role in PRINCIPALS - {Role.BRAND_ADMIN}:
        world.enrol(role, f"a-{role.value}")
    world.enrol(Role.BRAND_ADMIN, "a-brand_admin", "acme")
    tokens = {role: world.tokens[f"a-{role.value}"] for role in PRINCIPALS}
    wanted = SubjectTokenRequest(brand="acme", subject=CANARY, verified_by="letter")
    return {**tokens, Role.SUBJECT: world.brand_admin("acme").mint_subject_token(wanted).token}


def test_every_route_is_open_on_purpose_or_names_its_roles() -> None:
    assert {route.path for route in GUARDED} == {name.rpartition(" ")[2] for name in ALLOWED}
    for route in GUARDED:
        assert roles_of(route) == allowed(route), route.path
    assert all(not roles_of(route) for route in ROUTES if route.path in OPEN)


@pytest.mark.parametrize("route", GUARDED, ids=lambda route: route.path)
def test_no_route_without_a_token_or_with_a_wrong_one(consent_world: Any, route: APIRoute) -> None:
    for token in (None, "wrong", ""):
        response = send(consent_world, route, token)
        assert (response.status_code, response.json()["code"]) == (401, "unauthenticated")


def test_every_route_refuses_the_roles_that_it_does_not_name(consent_world: Any) -> None:
    tokens = token_of_each_role(consent_world)
    for route in GUARDED:
        for role in Role:
            status = send(consent_world, route, tokens[role]).status_code
            assert (status == 403) == (role not in allowed(route)), (route.path, role)


def test_one_brand_does_not_see_that_another_exists(consent_world: Any) -> None:
    consent_world.record("acme", Act.GRANT, CANARY)
    consent_world.coordinator.seal_snapshots(PURPOSE, ["acme"])
    spy: ConsentClient = consent_world.brand("spy")
    asked = consent_world.officer.ask_right(ERASURE)
    attempts = {
        "record": lambda: spy.record([consent_world.choice("acme", CANARY, Act.WITHDRAW)], idempotency_key="spy"),
        "decide": lambda: spy.decide([DecisionQuery(brand="acme", subject=CANARY, purpose=PURPOSE)]),
        "snapshot": lambda: spy.current_snapshot(PURPOSE),
        "snapshot head": lambda: spy.current_head(PURPOSE),
        "coverage": lambda: spy.coverage("acme"),
        "budgets": lambda: spy.budgets("acme"),
        "participation": lambda: spy.participation("acme", CANARY),
        "access": lambda: spy.access(AccessRequest(brand="acme", subject=CANARY)),
        "withdrawal": lambda: spy.withdraw_everything("acme", CANARY),
        "objection": lambda: spy.object_to(Objection(brand="acme", subject=CANARY)),
        "receipt": lambda: spy.receipt(ReceiptRequest(brand="acme", subject=CANARY, purpose=PURPOSE)),
        "request": lambda: spy.ask_right(ERASURE),
        "approval": lambda: spy.approve_request(asked.request_id),
        "rejection": lambda: spy.reject_request(asked.request_id),
    }
    for name, attempt in attempts.items():
        with pytest.raises(errors.NotFoundError) as caught:
            attempt()
        assert caught.value.code == "not_found", name
    assert spy.decide([DecisionQuery(brand="spy", subject=CANARY, purpose=PURPOSE)])[0].allowed is False
    assert consent_world.brand("acme").current_snapshot(PURPOSE).members == (CANARY,)


def test_a_brand_that_exists_and_one_that_does_not_answer_alike(consent_world: Any) -> None:
    consent_world.record("acme", Act.GRANT, CANARY)
    answers = []
    for brand in ("acme", "nobody"):
        with pytest.raises(errors.NotFoundError) as caught:
            consent_world.brand("spy").coverage(brand)
        answers.append(str(caught.value))
    assert answers[0] == answers[1]


def test_a_renewed_token_replaces_the_old_one(consent_world: Any) -> None:
    old = consent_world.brand("acme")
    consent_world.operator.enrol(Role.BRAND, "acme", consent_world.keys["acme"].public_key)
    with pytest.raises(errors.UnauthenticatedError):
        old.coverage("acme")


def test_who_signs_brings_a_key(consent_world: Any) -> None:
    with pytest.raises(errors.InvalidRequestError):
        consent_world.operator.enrol(Role.BRAND, "acme")


BAD_BODIES = [
    {"idempotency_key": "k", "choices": [{"brand": "acme", "subject": CANARY, "act": CANARY}]},
    {"idempotency_key": "k", "choices": [{"brand": "acme", "subject": f"{CANARY}0", "act": "grant"}]},
    {"idempotency_key": "k", "choices": [{"brand": "acme", "subject": CANARY, CANARY: 1}]},
    {"idempotency_key": "k", "choices": [{"brand": "acme", "subject": CANARY, "act": "grant", "canary": 1}]},
    {CANARY: CANARY},
    [CANARY],
    CANARY,
]


@pytest.mark.parametrize("body", BAD_BODIES, ids=range(len(BAD_BODIES)))
def test_a_refusal_never_repeats_what_was_sent(consent_world: Any, body: object) -> None:
    consent_world.brand("acme")
    headers = {"Authorization": f"Bearer {consent_world.tokens['acme']}"}
    response = consent_world.http.post("/v1/choices", json=body, headers=headers)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_request")
    assert "canary" not in response.text
    assert CANARY not in response.text


def test_no_identifier_is_ever_logged(consent_world: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="confide.consent")
    consent_world.record("acme", Act.GRANT, CANARY)
    acme = consent_world.brand("acme")
    acme.decide([DecisionQuery(brand="acme", subject=CANARY, purpose=PURPOSE)])
    acme.participation("acme", CANARY)
    with pytest.raises(errors.UnknownNoticeError):
        acme.record(
            [consent_world.choice("acme", CANARY, Act.GRANT).model_copy(update={"notice": None})],
            idempotency_key=CANARY,
        )
    consent_world.http.get(f"/{CANARY}?subject={CANARY}")
    consent_world.http.get(f"/v1/runs/{CANARY}")
    lines = [record.getMessage() for record in caplog.records if record.name == "confide.consent"]
    assert {json.loads(line)["route"] for line in lines} >= {"/v1/choices", "/v1/decisions", "unmatched"}
    assert CANARY not in "\n".join(lines)


def test_a_fault_says_nothing_of_what_was_sent(
    consent_world: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError(f"row of {CANARY}")

    acme = consent_world.brand("acme")
    monkeypatch.setattr("consent.service.questions.decide", fail)
    with pytest.raises(errors.UnavailableError) as caught:
        acme.decide([DecisionQuery(brand="acme", subject=CANARY, purpose=PURPOSE)])
    assert CANARY not in str(caught.value)
    assert "RuntimeError" in caplog.text
    assert CANARY not in caplog.text


def test_a_body_over_the_cap_is_refused(consent_worlds: Any) -> None:
    world = consent_worlds(max_body_bytes=2_000)
    headers = {"Authorization": "Bearer anything"}
    response = world.http.post("/v1/choices", content=b"x" * 2_001, headers=headers)
    assert (response.status_code, response.json()["code"]) == (413, "too_large")


@pytest.mark.parametrize(
    "path",
    [
        "openings/000000.ndjson",
        "../snapshot.key",
        "%2e%2e/log.key",
        "tile/0/../../../log.key",
        "..%2Fconsent.db",
        "tile/0/999",
        "",
    ],
)
def test_row_19_only_the_public_part_of_the_log_is_served(consent_world: Any, path: str) -> None:
    consent_world.record("acme", Act.GRANT, CANARY)
    assert consent_world.http.get(f"/v1/log/{path}").status_code == 404


def test_the_log_is_served_as_published(consent_world: Any) -> None:
    consent_world.record("acme", Act.GRANT, CANARY)
    folder = consent_world.settings.log_dir
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not name.startswith("openings"):
            assert consent_world.http.get(f"/v1/log/{name}").content == path.read_bytes()
    assert consent_world.http.get("/healthz").status_code == 200


def test_a_log_that_can_not_be_published_turns_health_red(consent_world: Any) -> None:
    consent_world.brand("acme")
    folder = consent_world.settings.log_dir
    kept = (folder / "checkpoint").read_bytes()
    (folder / "checkpoint").unlink()
    assert consent_world.record("acme", Act.GRANT, CANARY)
    assert consent_world.http.get("/readyz").status_code == 503
    (folder / "checkpoint").write_bytes(kept)
    consent_world.record("acme", Act.WITHDRAW, CANARY)
    assert consent_world.http.get("/readyz").status_code == 200
