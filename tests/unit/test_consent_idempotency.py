"""A request under an idempotency key has one effect and one answer; what is kept for that tells nothing."""

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from sqlalchemy import delete, select

from consent.contract import Act, LegalBasis, Purpose
from consent.store.schema import IdempotencyRow
from consent.wire import Enrolment, Role

ANN = hashlib.sha256(b"ann").hexdigest()
Send = Callable[..., httpx.Response]


@pytest.fixture
def send(consent_world: Any) -> Send:
    """A function that posts a body as somebody, under a key; what the world was made with is not kept."""
    consent_world.brand("acme")
    consent_world.enrol(Role.OFFICER, "officer")
    operator = (consent_world.settings.data_dir / "operator.token").read_text().strip()
    with consent_world.app.state.workplace.writing() as unit:
        unit.session.execute(delete(IdempotencyRow))

    def post(path: str, body: Any, *, key: str | None = "once", who: str = "operator") -> httpx.Response:
        token = operator if who == "operator" else consent_world.tokens[who]
        headers = {"Authorization": f"Bearer {token}"} | ({"Idempotency-Key": key} if key is not None else {})
        response: httpx.Response = consent_world.http.post(path, json=body, headers=headers)
        return response

    return post


def entries(world: Any) -> int:
    with world.app.state.workplace.reading() as unit:
        size: int = unit.log_size()
    return size


def kept(world: Any) -> list[IdempotencyRow]:
    with world.app.state.workplace.reading() as unit:
        return list(unit.session.scalars(select(IdempotencyRow)))


def enrolment(name: str = "boss") -> dict[str, Any]:
    return Enrolment(role=Role.OFFICER, name=name).model_dump(mode="json")


def test_a_repeat_is_answered_byte_for_byte_and_changes_nothing(consent_world: Any, send: Send) -> None:
    first = send("/v1/principals", enrolment())
    size = entries(consent_world)
    again = send("/v1/principals", enrolment())
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.content == first.content
    assert (first.headers.get("idempotency-replayed"), again.headers["idempotency-replayed"]) == (None, "true")
    assert entries(consent_world) == size
    other = send("/v1/principals", enrolment(), key="twice")
    assert other.json()["token"] != first.json()["token"]
    assert entries(consent_world) == size + 1


def test_an_answer_without_content_is_repeated_too(consent_world: Any, send: Send) -> None:
    purpose = Purpose(
        purpose="upsell", title="Upsell", legal_basis=LegalBasis.CONSENT, data_categories=("a",), retention_days=1
    ).model_dump(mode="json")
    assert send("/v1/purposes", purpose).status_code == 204
    again = send("/v1/purposes", purpose)
    assert (again.status_code, again.content, again.headers["idempotency-replayed"]) == (204, b"", "true")


def test_a_key_is_for_one_request(send: Send) -> None:
    send("/v1/principals", enrolment())
    for path, body in (("/v1/principals", enrolment("other")), ("/v1/purposes", {**enrolment()})):
        response = send(path, body)
        assert response.status_code in (409, 422)
    assert send("/v1/principals", enrolment("other")).json()["code"] == "conflict"


def test_the_same_body_for_another_resource_is_another_request(consent_world: Any, send: Send) -> None:
    body = {"brand": "acme", "subject": ANN, "other": "1" * 64}
    assert send("/v1/subjects/merge", body, who="acme").status_code == 204
    assert send("/v1/subjects/unmerge", body, who="acme").status_code == 409


def test_a_key_belongs_to_who_used_it(consent_world: Any, send: Send) -> None:
    for name in ("acme", "bolt"):
        consent_world.brand(name)
        body = {"brand": name, "subject": ANN, "other": "1" * 64}
        assert send("/v1/subjects/merge", body, who=name).status_code == 204


def test_a_request_that_failed_may_be_sent_again(consent_world: Any, send: Send) -> None:
    notice = {"purpose": "upsell", "language": "en", "text": "May we?"}
    assert send("/v1/notices", notice).status_code == 404
    consent_world.declare("upsell")
    assert send("/v1/notices", notice).status_code == 200


def test_the_header_works_beside_the_key_of_a_batch(consent_world: Any, send: Send) -> None:
    choice = consent_world.choice("acme", ANN, Act.GRANT).model_dump(mode="json")
    body = {"idempotency_key": "inner", "choices": [choice]}
    first = send("/v1/choices", body, who="acme")
    size = entries(consent_world)
    assert send("/v1/choices", body, who="acme").content == first.content
    assert send("/v1/choices", body, key=None, who="acme").json() == first.json()
    assert entries(consent_world) == size


def test_repeats_at_once_have_one_effect(consent_world: Any, send: Send) -> None:
    size = entries(consent_world)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: send("/v1/principals", enrolment()).content, range(8)))
    assert len(set(answers)) == 1
    assert entries(consent_world) == size + 1


def test_effect_and_answer_are_kept_together_or_not_at_all(
    consent_world: Any, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = entries(consent_world)
    with monkeypatch.context() as patch:
        patch.setattr("consent.service.idempotency._Kept.seal", lambda *_: 1 / 0)
        assert send("/v1/principals", enrolment()).status_code == 500
    assert (entries(consent_world), kept(consent_world)) == (size, [])
    assert send("/v1/principals", enrolment()).status_code == 200


def test_what_is_kept_tells_nothing(consent_world: Any, send: Send) -> None:
    """Neither the token in the answer, nor the key, nor a hash that confirms a guess of the request."""
    body = {"brand": "acme", "subject": ANN, "other": "1" * 64}
    secret = send("/v1/principals", enrolment(), key="order-of-ann").json()["token"]
    send("/v1/subjects/merge", body, who="acme", key="merge-of-ann")
    rows = [row for row in kept(consent_world) if row.first_index]
    assert len(rows) == 2
    words = [secret, "order-of-ann", "merge-of-ann", ANN]
    for row in rows:
        content = repr((row.key, row.request, row.response))
        assert not [word for word in words if word in content]
    guesses = [
        hashlib.sha256(one).hexdigest()
        for one in (b'{"role":"officer"}', consent_world.http.build_request("POST", "/", json=body).content)
    ]
    assert not {row.request for row in rows} & set(guesses)


def test_an_erasure_takes_away_what_was_kept(consent_world: Any, send: Send) -> None:
    choice = consent_world.choice("acme", ANN, Act.GRANT).model_dump(mode="json")
    body = {"idempotency_key": "inner", "choices": [choice]}
    assert send("/v1/choices", body, who="acme").status_code == 200
    merge = {"brand": "acme", "subject": ANN, "other": "1" * 64}
    assert send("/v1/subjects/merge", merge, key="merge", who="acme").status_code == 204
    assert consent_world.erase("acme", ANN).choices == 1
    rows = [row for row in kept(consent_world) if row.principal_id != 1]
    assert {(row.request, row.response) for row in rows} == {(None, b"")}
    assert send("/v1/choices", body, who="acme").status_code == 409
    assert send("/v1/subjects/merge", merge, key="merge", who="acme").status_code == 409


@pytest.mark.parametrize("key", ["", " ", "x" * 129, "with space"])
def test_a_key_has_a_form(send: Send, key: str) -> None:
    response = send("/v1/principals", enrolment(), key=key)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_request")


def test_a_key_is_only_looked_at_where_it_was_sent(consent_world: Any, send: Send) -> None:
    send("/v1/principals", enrolment(), key=None)
    assert kept(consent_world) == []
