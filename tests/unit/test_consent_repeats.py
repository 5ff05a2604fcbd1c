"""Every route that changes something has one effect for an idempotency key, and a new one has to be tried here."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute
from pydantic import BaseModel
from rights_desk import PURPOSE, hold_round
from secure_papers import rounds_of_five
from signal_world import declare, tc_text
from sqlalchemy import select

from consent.client import ConsentClient
from consent.contract import Act, LegalBasis, Notice, Purpose, RemedyPolicy, SigningKey
from consent.credentials import ApiKeyRequest, ApiKeyRevocation, SubjectTokenRequest, SubjectTokenRevocation
from consent.preference_signals import ConsentString, GpcSignal
from consent.remedies import RemedyChoice
from consent.rights import Objection, RequestKind, RightsRequest, Verification
from consent.service.idempotency import REPLAYED
from consent.service.openapi import describe, takes_key
from consent.service.routes import ROUTERS
from consent.signals import GppString, UsNational, encode_gpp_string
from consent.store.schema import IdempotencyRow
from consent.webhooks import WebhookRequest
from consent.wire import (
    Approval,
    ChoiceBatch,
    Confirmation,
    Enrolment,
    GuardianRecord,
    Merge,
    Role,
    SealRequest,
    SubjectRequest,
)

ANN, BEN = (hashlib.sha256(name).hexdigest() for name in (b"ann", b"ben"))
ROUTES = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
POSTS = {route.path_format: route for route in ROUTES if route.methods == {"POST"}}
DOCUMENT = describe("Confide", ROUTES)["paths"]
LOOKS = {
    "/v1/decisions",
    "/v1/decisions/proof",
    "/v1/log/search",
    "/v1/receipts",
    "/v1/rosters",
    "/v1/signals/confirmation",
    "/v1/signals/export",
    "/v1/snapshots/current",
    "/v1/snapshots/current/head",
    "/v1/snapshots/proof",
    "/v1/subjects/access",
    "/v1/subjects/access/page",
    "/v1/subjects/participation",
}
"""What changes nothing, and at most leaves the entry that somebody looked: who looks twice is logged twice. It is
asked by POST to keep customers out of addresses."""
FILES = {"/v1/imports"}
"""Whose header names the file, each part of which is recorded once; see `test_consent_import`."""
EVIDENCE = {"/v1/remedies/closing"}
"""What takes a whole history before it can be sent: that it takes a key is all that is looked at here."""


OPTED_OUT = GppString(us_national=UsNational(sale_opt_out=1))


@dataclass(frozen=True)
class Sent:
    """A request that somebody may make now."""

    who: str
    body: BaseModel | None
    path: str | None = None


def granted(world: Any) -> Sent:
    choice = world.choice("acme", ANN, Act.GRANT)
    return Sent("acme", ChoiceBatch(idempotency_key="inner", choices=(choice,)))


def revoked_key(world: Any) -> Sent:
    made = world.brand("acme").create_api_key(ApiKeyRequest(label="crm", scopes=("post:decisions",), days=1))
    return Sent("acme", ApiKeyRevocation(key_id=made.view.key_id))


def confirmed(world: Any) -> Sent:
    return Sent(
        "acme",
        Confirmation(token=world.brand("acme").ask_confirmation(world.choice("acme", ANN, Act.GRANT)).token),
    )


def purpose(_: Any) -> Sent:
    body = Purpose(
        purpose="upsell", title="Upsell", legal_basis=LegalBasis.CONSENT, data_categories=("a",), retention_days=1
    )
    return Sent("operator", body)


def enrolment(_: Any) -> Sent:
    key = SigningKey.generate().public_key
    return Sent("operator", Enrolment(role=Role.BRAND, name="bravo", public_key=key))


class CaughtError(Exception):
    """Carries what a client was about to send."""


def caught(method: str, hold: Callable[[], object]) -> Any:
    """Hold a round up to the call of a method, and return what it was called with."""

    def catch(_self: ConsentClient, *sent: Any) -> None:
        raise CaughtError(*sent)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ConsentClient, method, catch)
        with pytest.raises(CaughtError) as sent:
            hold()
    return sent.value.args


def caught_in_round(world: Any, method: str) -> Any:
    world.record("acme", Act.GRANT, ANN, BEN)
    return caught(method, lambda: hold_round(world))


def caught_in_secure_round(method: str, who: str = "coordinator") -> Callable[[Any], Sent]:
    """Hold a round of masked sums: abandoned where nothing is closed, so that a brand can give back."""

    def sent(world: Any) -> Sent:
        rounds = rounds_of_five(world)

        def hold() -> None:
            rounds.set_up()
            manifest = rounds.manifest()
            rounds.open(manifest)
            if method == "close_round":
                rounds.close(rounds.closing(manifest))
            rounds.abandon(manifest)
            world.clock.advance(2 * 3_600)
            rounds.give_back(who)

        (paper,) = caught(method, hold)
        return Sent(who, paper)

    return sent


def opened(world: Any) -> Sent:
    (manifest,) = caught_in_round(world, "open_round")
    return Sent("coordinator", manifest)


def released(world: Any) -> Sent:
    (release,) = caught_in_round(world, "commit_release")
    return Sent("coordinator", release)


def approval(world: Any) -> Sent:
    task, ceiling, brands = caught_in_round(world, "approve_task")
    return Sent("officer", Approval(task=task, ceiling=ceiling, brands=tuple(brands)))


def remedy(world: Any) -> Sent:
    world.record("acme", Act.GRANT, ANN, BEN)
    return Sent("officer", RemedyChoice(task=hold_round(world).task, policy=RemedyPolicy.RETRAIN))


def seal(world: Any) -> Sent:
    world.record("acme", Act.GRANT, ANN, BEN)
    return Sent("coordinator", SealRequest(purpose=PURPOSE, brands=("acme",)))


def rights_request() -> RightsRequest:
    return RightsRequest(brand="acme", subject=ANN, kind=RequestKind.ERASURE, verified_by=Verification.DOCUMENT)


def decided(how: str) -> Callable[[Any], Sent]:
    def decide(world: Any) -> Sent:
        world.record("acme", Act.GRANT, ANN)
        asked = world.officer.ask_right(rights_request())
        assert world.second_officer
        return Sent("second-officer", None, f"/v1/requests/{asked.request_id}/{how}")

    return decide


def signal(world: Any) -> Sent:
    declare(world)
    return Sent("acme", GpcSignal(brand="acme", subject=ANN, header_values=("1",)))


def tc_string(world: Any) -> Sent:
    declare(world)
    return Sent("acme", ConsentString(brand="acme", subject=ANN, text=tc_text()))


def gpp_string(world: Any) -> Sent:
    declare(world)
    return Sent("acme", ConsentString(brand="acme", subject=ANN, text=encode_gpp_string(OPTED_OUT)))


def minted(_: Any) -> Sent:
    return Sent("acme", SubjectTokenRequest(brand="acme", subject=ANN, verified_by="letter"))


def ended_token(world: Any) -> Sent:
    assert world.customer("acme", ANN)
    return Sent("acme", SubjectTokenRevocation(brand="acme", subject=ANN))


def unmerged(world: Any) -> Sent:
    world.brand("acme").merge("acme", ANN, BEN)
    return Sent("acme", Merge(brand="acme", subject=ANN, other=BEN))


def guardian(world: Any) -> Sent:
    until = world.clock.now.replace(year=world.clock.now.year + 1)
    return Sent("acme", GuardianRecord(brand="acme", subject=ANN, guardian=BEN, until=until))


def withdrawal(world: Any) -> Sent:
    world.record("acme", Act.GRANT, ANN)
    return Sent("acme", SubjectRequest(brand="acme", subject=ANN))


def objection(world: Any) -> Sent:
    world.record("acme", Act.GRANT, ANN)
    return Sent("acme", Objection(brand="acme", subject=ANN, purposes=(PURPOSE,)))


def webhook(world: Any) -> Sent:
    assert world.brand_admin("acme")
    return Sent("admin-of-acme", WebhookRequest(url="https://brand.example/told"))


REQUESTS: dict[str, Callable[[Any], Sent]] = {
    "/v1/api-keys": lambda _: Sent("acme", ApiKeyRequest(label="crm", scopes=("post:decisions",), days=1)),
    "/v1/api-keys/revocation": revoked_key,
    "/v1/choices": granted,
    "/v1/confirmations": lambda world: Sent("acme", world.choice("acme", ANN, Act.GRANT)),
    "/v1/confirmations/confirm": confirmed,
    "/v1/notices": lambda _: Sent("operator", Notice(purpose=PURPOSE, language="de", text="Dürfen wir?")),
    "/v1/principals": enrolment,
    "/v1/purposes": purpose,
    "/v1/releases": released,
    "/v1/requests": lambda _: Sent("acme", rights_request()),
    "/v1/requests/{request_id}/approve": decided("approve"),
    "/v1/requests/{request_id}/reject": decided("reject"),
    "/v1/rounds": opened,
    "/v1/rounds/abandonment": caught_in_secure_round("abandon_round"),
    "/v1/rounds/closing": caught_in_secure_round("close_round"),
    "/v1/rounds/setup": caught_in_secure_round("record_setup"),
    "/v1/rounds/unspent": caught_in_secure_round("state_unspent", "acme"),
    "/v1/signals/gpc": signal,
    "/v1/signals/gpp": gpp_string,
    "/v1/signals/tcf": tc_string,
    "/v1/snapshots": seal,
    "/v1/subject-tokens": minted,
    "/v1/subject-tokens/revocation": ended_token,
    "/v1/subjects/guardian": guardian,
    "/v1/subjects/merge": lambda _: Sent("acme", Merge(brand="acme", subject=ANN, other=BEN)),
    "/v1/subjects/objection": objection,
    "/v1/subjects/unmerge": unmerged,
    "/v1/subjects/withdrawal": withdrawal,
    "/v1/tasks": approval,
    "/v1/tasks/remedy": remedy,
    "/v1/webhooks": webhook,
}
SECRETS = {
    "/v1/api-keys": "key",
    "/v1/confirmations": "token",
    "/v1/principals": "token",
    "/v1/subject-tokens": "token",
    "/v1/webhooks": "secret",
}
"""Routes that show a secret once, and where in their answers."""


@pytest.fixture
def world(consent_world: Any) -> Any:
    consent_world.brand("acme")
    assert consent_world.officer
    assert consent_world.coordinator
    path = consent_world.settings.data_dir / "operator.token"
    consent_world.tokens["operator"] = path.read_text().strip()
    return consent_world


def send(world: Any, path: str, sent: Sent, key: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {world.tokens[sent.who]}", "Idempotency-Key": key}
    content = None
    if sent.body is not None:
        content = sent.body.model_dump_json().encode()
        headers["Content-Type"] = "application/json"
    response: httpx.Response = world.http.post(sent.path or path, content=content, headers=headers)
    return response


def state(world: Any) -> tuple[int, int]:
    """Return the size of the log, and how many requests are kept."""
    with world.app.state.workplace.reading() as unit:
        rows = unit.session.scalars(select(IdempotencyRow.key)).all()
        return unit.log_size(), len(rows)


def test_every_post_takes_a_key_or_only_looks() -> None:
    keyed = {path for path in POSTS if takes_key(DOCUMENT[path]["post"])}
    assert keyed == POSTS.keys() - LOOKS
    assert keyed == REQUESTS.keys() | FILES | EVIDENCE


def test_the_description_says_that_an_answer_may_be_that_of_before() -> None:
    (replayed,) = REPLAYED
    for path in REQUESTS:
        answers = DOCUMENT[path]["post"]["responses"]
        assert [replayed in found.get("headers", {}) for status, found in answers.items() if status[0] == "2"] == [
            True
        ]
    for path in LOOKS:
        assert all("headers" not in found for found in DOCUMENT[path]["post"]["responses"].values())


@pytest.mark.parametrize("path", REQUESTS)
def test_a_repeat_has_no_second_effect_and_the_same_answer(world: Any, path: str) -> None:
    sent = REQUESTS[path](world)
    first = send(world, path, sent, "once")
    assert first.is_success, first.text
    assert "idempotency-replayed" not in first.headers
    after = state(world)
    again = send(world, path, sent, "once")
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["idempotency-replayed"] == "true"
    assert state(world) == after


def test_what_shows_a_secret_is_every_route_that_is_tried_for_it() -> None:
    """An answer that holds a secret is one whose model says that it is shown this once."""
    schemas = describe("Confide", ROUTES)["components"]["schemas"]
    shown = set()
    for path in REQUESTS:
        for status, found in DOCUMENT[path]["post"]["responses"].items():
            name = found.get("content", {}).get("application/json", {}).get("schema", {}).get("$ref", "")
            if status == "200" and "this once" in schemas.get(name.rpartition("/")[2], {}).get("description", ""):
                shown.add(path)
    assert shown == SECRETS.keys()


@pytest.mark.parametrize("path", SECRETS)
def test_a_secret_is_repeated_to_its_caller_and_kept_from_everybody_else(world: Any, path: str) -> None:
    sent = REQUESTS[path](world)
    secret = send(world, path, sent, "once").json()[SECRETS[path]]
    assert send(world, path, sent, "once").json()[SECRETS[path]] == secret
    with world.app.state.workplace.reading() as unit:
        rows = unit.session.scalars(select(IdempotencyRow)).all()
        kept = b"".join(repr((row.key, row.request)).encode() + row.response for row in rows)
    assert secret.encode() not in kept


def test_an_erasure_that_broke_off_before_the_files_is_finished_by_a_repeat(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = "/v1/requests/{request_id}/approve"
    sent = REQUESTS[path](world)
    with monkeypatch.context() as patch:
        patch.setattr("consent.service.routes.rights.erasure.scrub", lambda _: False)
        assert send(world, path, sent, "once").json()["erasure"]["scrubbed"] is False
    again = send(world, path, sent, "once")
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json()["erasure"]["scrubbed"] is True
    assert again.json()["erasure"]["choices"] == 1


def test_a_signal_that_comes_late_a_second_time_ends_no_newer_grant(world: Any) -> None:
    sent = signal(world)
    assert send(world, "/v1/signals/gpc", sent, "first").json()["honored"]
    settled = send(world, "/v1/signals/gpc", sent, "second")
    assert settled.json()["honored"]
    world.clock.advance()
    world.brand("acme").record(
        [world.choice("acme", ANN, Act.GRANT, collection_point="account")], idempotency_key="grant"
    )
    before = state(world)
    assert send(world, "/v1/signals/gpc", sent, "second").content == settled.content
    assert state(world) == before


def test_a_signal_without_a_key_is_kept_nowhere(world: Any) -> None:
    sent = signal(world)
    send(world, "/v1/signals/gpc", sent, "first")
    before = state(world)
    headers = {"Authorization": f"Bearer {world.tokens['acme']}"}
    assert sent.body is not None
    world.http.post("/v1/signals/gpc", json=sent.body.model_dump(mode="json"), headers=headers)
    assert state(world) == before


def test_a_decision_under_one_key_is_about_one_request(world: Any) -> None:
    path = "/v1/requests/{request_id}/reject"
    first = REQUESTS[path](world)
    other = world.officer.ask_right(rights_request().model_copy(update={"subject": BEN}))
    assert send(world, path, first, "once").is_success
    refused = send(world, path, Sent(first.who, None, f"/v1/requests/{other.request_id}/reject"), "once")
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
