"""API keys and the ends of tokens: each does what it was made for, until it ends."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, select

from consent import errors
from consent.client import ConsentClient
from consent.contract import Act, DecisionQuery
from consent.credentials import ApiKeyRequest, ApiKeyView, SubjectTokenRequest
from consent.searching import LogQuery
from consent.service import api_keys
from consent.service.access import UNDELEGABLE, scope_of
from consent.service.routes import ROUTERS
from consent.store.callers import ApiKeyRow
from consent.wire import Role

PURPOSE = "conversion"
ANN = hashlib.sha256(b"ann").hexdigest()
DAY = 86_400


@pytest.fixture
def world(consent_world: Any) -> Any:
    consent_world.record("acme", Act.GRANT, ANN)
    return consent_world


@pytest.fixture
def stored_world(consent_worlds: Any, database_url: str) -> Any:
    """A world on each kind of database."""
    world = consent_worlds(database_url=database_url)
    world.declare(PURPOSE)
    world.record("acme", Act.GRANT, ANN)
    return world


def make(maker: ConsentClient, *scopes: str, days: int = 30, label: str = "crm") -> tuple[str, ApiKeyView]:
    made = maker.create_api_key(ApiKeyRequest(label=label, scopes=scopes, days=days))
    return made.key, made.view


def ask(client: ConsentClient) -> bool:
    return client.decide([DecisionQuery(brand="acme", subject=ANN, purpose=PURPOSE)])[0].allowed


def test_a_key_does_what_its_scopes_name_and_nothing_else(stored_world: Any) -> None:
    world = stored_world
    key, view = make(world.brand("acme"), "post:decisions", "get:brands/coverage")
    program = ConsentClient(world.http, key)
    assert ask(program)
    assert program.coverage("acme")[0].granted == 1
    refused: list[Callable[[], object]] = [
        lambda: program.record([world.choice("acme", ANN, Act.WITHDRAW)], idempotency_key="k"),
        lambda: program.budgets("acme"),
        lambda: program.search_log(LogQuery()),
        program.api_keys,
        lambda: make(program, "post:decisions"),
        lambda: program.revoke_api_key(view.key_id),
        lambda: program.mint_subject_token(SubjectTokenRequest(brand="acme", subject=ANN, verified_by="letter")),
    ]
    for act in refused:
        with pytest.raises(errors.ForbiddenError):
            act()
    with pytest.raises(errors.NotFoundError):
        program.coverage("bravo")


@pytest.mark.parametrize("end", ["expired", "revoked", "renewed", "unknown"])
def test_a_key_that_ended_lets_nobody_in(stored_world: Any, end: str) -> None:
    world = stored_world
    key, view = make(world.brand("acme"), "post:decisions", days=30)
    program = ConsentClient(world.http, key)
    world.clock.advance(30 * DAY - 10)
    assert ask(program)
    if end == "expired":
        world.clock.advance(10)
    elif end == "revoked":
        world.brand("acme").revoke_api_key(view.key_id)
        world.brand("acme").revoke_api_key(view.key_id)
    elif end == "renewed":
        world.operator.enrol(Role.BRAND, "acme", world.keys["acme"].public_key)
    else:
        program = ConsentClient(world.http, key[:-1] + ("A" if key[-1] != "A" else "B"))
    with pytest.raises(errors.UnauthenticatedError):
        ask(program)


MAKERS = {
    "brand": lambda world: world.brand("acme"),
    "brand_admin": lambda world: world.brand_admin("acme"),
    "auditor": lambda world: world.auditor,
    "officer": lambda world: world.officer,
    "coordinator": lambda world: world.coordinator,
    "operator": lambda world: world.operator,
}


@pytest.mark.parametrize("role", MAKERS)
def test_row_17_nobody_makes_a_key_that_does_more_than_they_may(world: Any, role: str) -> None:
    maker = MAKERS[role](world)
    held = world.app.state.scopes[Role(role)]
    everything = {scope_of(route) for router in ROUTERS for route in router.routes}
    assert held < everything
    assert make(maker, *sorted(held))[1].scopes == tuple(sorted(held))
    for scope in [*sorted(everything - held), "post:nothing"]:
        with pytest.raises(errors.ForbiddenError):
            make(maker, sorted(held)[0], scope)
    for scope in held:
        assert scope.partition(":")[2].partition("/")[0] not in UNDELEGABLE


def test_row_17_a_key_ends_with_the_token_of_its_maker(world: Any) -> None:
    acme = world.brand("acme")
    world.clock.advance(399 * DAY)
    key, view = make(acme, "post:decisions", days=30)
    assert (view.expires_at - world.clock.now).total_seconds() < 2 * DAY
    world.clock.advance(2 * DAY)
    for client in (acme, ConsentClient(world.http, key)):
        with pytest.raises(errors.UnauthenticatedError):
            ask(client)
    assert world.operator.enrol(Role.BRAND, "acme", world.keys["acme"].public_key)


def test_an_admin_manages_the_keys_of_the_brand_and_of_no_other(stored_world: Any) -> None:
    world = stored_world
    _, of_agent = make(world.brand("acme"), "post:choices")
    _, of_admin = make(world.brand_admin("acme"), "get:brands/budgets")
    _, foreign = make(world.brand("bravo"), "post:choices")
    admin = world.brand_admin("acme")
    assert {one.key_id for one in admin.api_keys()} == {of_agent.key_id, of_admin.key_id}
    assert {one.key_id for one in world.brand("acme").api_keys()} == {of_agent.key_id}
    admin.revoke_api_key(of_agent.key_id)
    assert [one.revoked for one in world.brand("acme").api_keys()] == [True]
    refusals = []
    for key_id in (foreign.key_id, "0" * 32):
        for client in (admin, world.officer, world.operator):
            with pytest.raises(errors.NotFoundError) as refused:
                client.revoke_api_key(key_id)
            refusals.append(str(refused.value))
    assert len(set(refusals)) == 1
    assert [one.revoked for one in world.brand("bravo").api_keys()] == [False]


def test_only_hashes_are_kept_and_making_and_ending_is_logged(world: Any) -> None:
    key, view = make(world.brand("acme"), "post:choices", label="warehouse")
    world.brand("acme").revoke_api_key(view.key_id)
    world.app.state.workplace.publish_now()
    for secret in (key, world.tokens["acme"]):
        for path in Path(world.settings.data_dir).rglob("*"):
            assert not path.is_file() or secret.encode() not in path.read_bytes(), path.name
    logged = {
        kind: [hit.payload for hit in world.officer.search_log(LogQuery(kind=kind)).entries]
        for kind in ("api_key_created", "api_key_revoked")
    }
    (created,), (revoked,) = logged["api_key_created"], logged["api_key_revoked"]
    assert (created["label"], created["scopes"], created["by"]) == ("warehouse", ["post:choices"], "brand:acme")
    assert created["key_id"] == revoked["key_id"] == view.key_id


def test_the_last_use_is_a_day_and_written_once_a_day_behind_the_request(stored_world: Any) -> None:
    world = stored_world
    key, view = make(world.brand("acme"), "get:keys")
    work = world.app.state.workplace
    days: list[str | None] = [view.last_used_on]
    writers = []
    event.listen(
        work.database.engine, "before_cursor_execute", lambda *given: writers.append(given[2].partition(" ")[0])
    )
    for _ in range(2):
        for _ in range(5):
            ConsentClient(world.http, key).service_key()
        work.last_use.settle()
        days.append(world.brand("acme").api_keys()[0].last_used_on)
        world.clock.advance(DAY)
    assert days == [None, "2026-11-02", "2026-11-03"]
    assert writers.count("UPDATE") == 2
    assert "INSERT" not in writers


def test_a_last_use_that_can_not_be_written_fails_no_request(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    key, _ = make(world.brand("acme"), "get:keys")

    def fail() -> None:
        raise errors.UnavailableError("The disk is full.")

    with monkeypatch.context() as patch:
        patch.setattr(world.app.state.workplace.database, "writing", fail)
        assert ConsentClient(world.http, key).service_key()
        world.app.state.workplace.last_use.settle()
    with world.app.state.workplace.reading() as unit:
        assert unit.session.scalar(select(ApiKeyRow.last_used_on)) is None


def test_keys_are_bounded_in_number(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_keys, "MAX_KEYS", 2)
    acme = world.brand("acme")
    views = [make(acme, "get:keys", days=days)[1] for days in (1, 30)]
    with pytest.raises(errors.ConflictError):
        make(acme, "get:keys")
    acme.revoke_api_key(views[1].key_id)
    make(acme, "get:keys")
    world.clock.advance(2 * DAY)
    make(acme, "get:keys")


def test_tokens_end_but_an_operators_does_not(world: Any) -> None:
    officer = world.officer
    world.clock.advance(400 * DAY + 1)
    with pytest.raises(errors.UnauthenticatedError):
        officer.coverage("acme")
    assert world.operator.enrol(Role.OFFICER, "officer")


def test_who_is_enrolled_with_a_brand(world: Any) -> None:
    for role, name, brand in (
        (Role.BRAND_ADMIN, "kim", None),
        (Role.OFFICER, "kim", "acme"),
        (Role.SUBJECT, ANN, "acme"),
        (Role.SUBJECT, ANN, None),
    ):
        with pytest.raises(errors.InvalidRequestError):
            world.operator.enrol(role, name, brand=brand)
    world.operator.enrol(Role.BRAND_ADMIN, "kim", brand="acme")
    with pytest.raises(errors.ConflictError):
        world.operator.enrol(Role.BRAND_ADMIN, "kim", brand="bravo")
