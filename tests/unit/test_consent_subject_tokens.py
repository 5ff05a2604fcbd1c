"""Customers' tokens: they speak for one customer, until they end, are taken back, or the customer is erased."""

import base64
import hashlib
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rights_desk import erase_by_two, request
from sqlalchemy import func, select

from consent import errors
from consent.client import ConsentClient
from consent.contract import Act, DecisionQuery
from consent.credentials import ApiKeyRequest, SubjectToken, SubjectTokenRequest, SubjectTokenRevocation
from consent.rights import AccessRequest, RequestKind
from consent.searching import LogQuery
from consent.service.subject_tokens import authenticate_subject
from consent.store.callers import SubjectTokenRow
from consent.wire import Role

PURPOSE = "conversion"
ANN, BOB, EVE = (hashlib.sha256(name).hexdigest() for name in (b"ann", b"bob", b"eve"))
MINUTE = 60


@pytest.fixture
def world(consent_worlds: Callable[..., Any], database_url: str) -> Any:
    """A world on each kind of database."""
    world = consent_worlds(database_url=database_url)
    world.declare(PURPOSE)
    world.record("acme", Act.GRANT, ANN, BOB)
    return world


def minted(world: Any, subject: str = ANN, minutes: int = 15) -> SubjectToken:
    wanted = SubjectTokenRequest(brand="acme", subject=subject, verified_by="account_login", minutes=minutes)
    token: SubjectToken = world.brand_admin("acme").mint_subject_token(wanted)
    return token


def holds(world: Any, token: SubjectToken, subject: str = ANN) -> bool:
    """Whether its holder is let in as that customer."""
    client = ConsentClient(world.http, token.token)
    try:
        return client.access(AccessRequest(brand="acme", subject=subject)).subject == subject
    except errors.UnauthenticatedError:
        return False


def kept(world: Any) -> int:
    with world.app.state.workplace.reading() as unit:
        return int(unit.session.scalar(select(func.count()).select_from(SubjectTokenRow)))


def ended(subject: str = ANN, token: SubjectToken | None = None, brand: str = "acme") -> SubjectTokenRevocation:
    return SubjectTokenRevocation(brand=brand, subject=subject, token_id=token.token_id if token else None)


def test_a_token_speaks_for_one_customer_until_it_ends(world: Any) -> None:
    token = minted(world)
    database = world.app.state.workplace.database
    caller = authenticate_subject(database, token.token, world.clock.now)
    assert (caller.role, caller.brand, caller.subject) == (Role.SUBJECT, "acme", ANN)
    world.clock.advance(15 * MINUTE)
    with pytest.raises(errors.UnauthenticatedError):
        authenticate_subject(database, token.token, world.clock.now)
    assert not holds(world, token)


def test_a_customer_makes_neither_keys_nor_tokens(world: Any) -> None:
    ann = ConsentClient(world.http, minted(world).token)
    for act in (
        lambda: ann.create_api_key(ApiKeyRequest(label="crm", scopes=("get:keys",), days=1)),
        ann.api_keys,
        lambda: ann.mint_subject_token(SubjectTokenRequest(brand="acme", subject=ANN, verified_by="letter")),
        lambda: ann.enrol(Role.OFFICER, "ann"),
        lambda: ann.decide([DecisionQuery(brand="acme", subject=ANN, purpose=PURPOSE)]),
    ):
        with pytest.raises(errors.ForbiddenError):
            act()


def test_row_16_no_bit_of_a_token_can_be_changed(world: Any) -> None:
    token, database = minted(world).token, world.app.state.workplace.database
    raw = base64.urlsafe_b64decode(token.removeprefix("cs_") + "=")
    forged = [raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :] for place in range(len(raw))]
    texts = ["cs_" + base64.urlsafe_b64encode(one).rstrip(b"=").decode() for one in forged]
    for text in [*texts, "cs_", token[:-1], token + "=", token + "A", token.removeprefix("cs_")]:
        with pytest.raises(errors.UnauthenticatedError):
            authenticate_subject(database, text, world.clock.now)
        assert world.http.get("/v1/api-keys", headers={"Authorization": f"Bearer {text}"}).status_code == 401


def test_only_a_hash_is_kept_and_an_ended_token_leaves_nothing(world: Any) -> None:
    token = minted(world)
    world.app.state.workplace.publish_now()
    for path in Path(world.settings.data_dir).rglob("*"):
        assert not path.is_file() or token.token.encode() not in path.read_bytes(), path.name
    with world.app.state.workplace.reading() as unit:
        assert token.token not in str(
            unit.session.connection().exec_driver_sql("SELECT * FROM subject_tokens").all()
        )
    assert kept(world) == 1
    world.clock.advance(15 * MINUTE)
    minted(world, BOB)
    assert kept(world) == 1


def test_a_brand_takes_one_token_back_or_all_of_a_customer(world: Any) -> None:
    first, second, third, other = minted(world), minted(world), minted(world), minted(world, BOB)
    world.brand_admin("acme").revoke_subject_tokens(ended(token=first))
    assert [holds(world, one) for one in (first, second, third)] == [False, True, True]
    world.brand("acme").revoke_subject_tokens(ended())
    assert [holds(world, one) for one in (first, second, third)] == [False] * 3
    assert holds(world, other, BOB)
    assert kept(world) == 1


def test_a_customer_takes_their_own_tokens_back_and_no_others(world: Any) -> None:
    mine, lost, other = minted(world), minted(world), minted(world, BOB)
    ann = ConsentClient(world.http, mine.token)
    ann.revoke_subject_tokens(ended(token=lost))
    assert (holds(world, lost), holds(world, mine)) == (False, True)
    with pytest.raises(errors.NotFoundError):
        ann.revoke_subject_tokens(ended(BOB))
    ann.revoke_subject_tokens(ended(token=other))
    assert holds(world, other, BOB), "a token that is not the customer's own"
    ann.revoke_subject_tokens(ended())
    assert not holds(world, mine)


def test_row_10_another_brand_takes_no_token_back(world: Any) -> None:
    token = minted(world)
    for client in (world.brand("spy"), world.brand_admin("spy")):
        for brand in ("acme", "nobody"):
            with pytest.raises(errors.NotFoundError) as refused:
                client.revoke_subject_tokens(ended(token=token, brand=brand))
            assert str(refused.value) == "There is no such brand."
        client.revoke_subject_tokens(ended(token=token, brand="spy"))
    for client in (world.officer, world.operator):
        with pytest.raises(errors.ForbiddenError):
            client.revoke_subject_tokens(ended())
    assert holds(world, token)


def test_ending_is_logged_once_under_the_customers_key_alone(world: Any) -> None:
    token = minted(world)
    acme = world.brand("acme")
    for _ in range(2):
        acme.revoke_subject_tokens(ended(token=token))
    found = acme.search_log(LogQuery(subject=ANN, kind="subject_tokens_revoked")).entries
    assert [(hit.payload["token_ids"], hit.payload["by"]) for hit in found] == [([token.token_id], "brand")]
    (seen,) = world.officer.search_log(LogQuery(kind="subject_tokens_revoked")).entries
    assert seen.closed


def test_who_a_token_was_made_for_is_logged_under_the_customers_key_alone(world: Any) -> None:
    for subject in (ANN, EVE):
        minted(world, subject)
    found = world.brand("acme").search_log(LogQuery(subject=ANN, kind="subject_token_minted")).entries
    assert [hit.payload["verified_by"] for hit in found] == ["account_login"]
    world.erase("acme", ANN)
    left = world.officer.search_log(LogQuery(kind="subject_token_minted")).entries
    assert len(left) == 1
    assert "subject" not in left[0].payload


def test_a_brand_makes_no_token_for_another_brands_customer(world: Any) -> None:
    for client in (world.brand("spy"), world.brand_admin("spy")):
        answers = []
        for brand in ("acme", "nobody"):
            with pytest.raises(errors.NotFoundError) as refused:
                client.mint_subject_token(SubjectTokenRequest(brand=brand, subject=ANN, verified_by="letter"))
            answers.append(str(refused.value))
        assert answers[0] == answers[1]


def test_row_14_all_tokens_of_a_customer_end_with_their_erasure(world: Any) -> None:
    """Under every pseudonym that is merged with the one named, and of a customer whom nothing else knows."""
    world.brand("acme").merge("acme", ANN, EVE)
    tokens = {subject: minted(world, subject) for subject in (ANN, BOB, EVE)}
    assert all(holds(world, token, subject) for subject, token in tokens.items())
    erase_by_two(world, ANN)
    assert {subject: holds(world, token, subject) for subject, token in tokens.items()} == {
        ANN: False,
        BOB: True,
        EVE: False,
    }
    stranger = secrets.token_hex(32)
    token = minted(world, stranger)
    assert erase_by_two(world, stranger).scrubbed
    assert not holds(world, token, stranger)
    assert kept(world) == 1
    if world.settings.url.startswith("sqlite"):
        database = Path(world.settings.url.removeprefix("sqlite:///"))
        files = b"".join(path.read_bytes() for path in database.parent.glob(f"{database.name}*"))
        assert stranger.encode() not in files


def test_an_erasure_that_fails_ends_no_token(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    token = minted(world)
    asked, second = world.officer.ask_right(request(ANN, RequestKind.ERASURE)), world.second_officer

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr("consent.service.erasure.request_scrub", fail)
        with pytest.raises(errors.UnavailableError):
            second.approve_request(asked.request_id)
    assert holds(world, token)
    second.approve_request(asked.request_id)
    assert not holds(world, token)
