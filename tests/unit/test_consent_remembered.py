"""Callers who are remembered for a moment: no look-up per request, and no token that outlives its end."""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from rights_desk import erase_by_two
from sqlalchemy import event

from consent import errors
from consent.client import ConsentClient
from consent.contract import Act
from consent.credentials import ApiKeyRequest, SubjectTokenRequest, SubjectTokenRevocation
from consent.rights import AccessRequest
from consent.service import create_app
from consent.service.remembered import Mark, Remembered
from consent.service.work import Caller
from consent.transport import InProcessTransport
from consent.wire import Role

PURPOSE = "conversion"
Case = tuple[str, Callable[[], object], Callable[[ConsentClient], object]]
"""A token, what takes it away, and what its holder asks."""
ANN = hashlib.sha256(b"ann").hexdigest()
ACME = Caller(id=1, role=Role.BRAND, name="acme", public_key=None)


@pytest.fixture
def world(consent_worlds: Callable[..., Any], database_url: str) -> Any:
    world = consent_worlds(database_url=database_url)
    world.declare(PURPOSE)
    world.record("acme", Act.GRANT, ANN)
    return world


@pytest.fixture
def elsewhere(world: Any) -> Iterator[httpx.Client]:
    """Another process that serves the same customers, as far as it can be told apart here."""
    app = create_app(world.settings, clock=world.clock)
    with ExitStack() as resources:
        resources.callback(app.state.workplace.close)
        transport = resources.enter_context(InProcessTransport(app))
        yield resources.enter_context(httpx.Client(transport=transport, base_url="http://consent"))


def officers_token(world: Any) -> Case:
    assert world.officer
    token = world.tokens["officer"]
    return token, lambda: world.operator.enrol(Role.OFFICER, "officer"), lambda client: client.coverage("acme")


def api_key(world: Any) -> Case:
    made = world.brand("acme").create_api_key(ApiKeyRequest(label="crm", scopes=("get:keys",), days=1))
    return made.key, lambda: world.brand("acme").revoke_api_key(made.view.key_id), ConsentClient.service_key


def customers_token(world: Any) -> Case:
    wanted = SubjectTokenRequest(brand="acme", subject=ANN, verified_by="letter")
    token = world.brand("acme").mint_subject_token(wanted).token
    ends = SubjectTokenRevocation(brand="acme", subject=ANN)
    return token, lambda: world.brand("acme").revoke_subject_tokens(ends), own_statement


def erased_customers_token(world: Any) -> Case:
    """Both officers are there before: to enrol somebody has everybody forgotten as well."""
    assert world.officer
    assert world.second_officer
    token, _, ask = customers_token(world)
    return token, lambda: erase_by_two(world, ANN), ask


def own_statement(client: ConsentClient) -> object:
    return client.access(AccessRequest(brand="acme", subject=ANN))


@pytest.mark.parametrize("kind", [officers_token, api_key, customers_token, erased_customers_token])
def test_a_token_that_is_taken_away_in_one_process_is_refused_in_every_other_at_once(
    world: Any, elsewhere: httpx.Client, kind: Callable[[Any], Case]
) -> None:
    """Both processes remember who holds it, and no time passes."""
    token, take_away, ask = kind(world)
    clients = [ConsentClient(world.http, token), ConsentClient(elsewhere, token)]
    for client in clients:
        ask(client)
    take_away()
    for client in clients:
        with pytest.raises(errors.UnauthenticatedError):
            ask(client)


def test_who_was_looked_up_a_moment_ago_is_not_looked_up_again(world: Any) -> None:
    asked: list[str] = []
    engine = world.app.state.workplace.database.engine
    event.listen(engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
    acme = world.brand("acme")
    world.clock.advance()
    looked_up = []
    for _ in range(2):
        for _ in range(5):
            acme.service_key()
        looked_up.append(sum("token_hash" in statement for statement in asked))
        world.clock.advance()
    assert looked_up == [1, 2]


def test_who_was_looked_up_before_all_were_forgotten_is_not_remembered(tmp_path: Path, consent_world: Any) -> None:
    """The look-up of a token may have begun before the token was taken away, and end after."""
    now = consent_world.clock.now
    here, there = (Remembered(Mark(tmp_path / "mark")) for _ in range(2))
    here.put("token", ACME, now, here.mark())
    assert here.get("token", now) == ACME
    before = here.mark()
    there.forget()
    assert here.get("token", now) is None
    here.put("token", ACME, now, before)
    assert here.get("token", now) is None
    here.put("token", ACME, now, here.mark())
    assert here.get("token", now) == ACME


def test_where_the_mark_can_not_be_written_the_process_itself_forgets_all_the_same(
    tmp_path: Path, consent_world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError("No space left on device")

    now, here = consent_world.clock.now, Remembered(Mark(tmp_path / "mark"))
    before = here.mark()
    here.put("token", ACME, now, before)
    monkeypatch.setattr(os, "pwrite", full)
    here.forget()
    assert here.get("token", now) is None
    here.put("token", ACME, now, before)
    assert here.get("token", now) is None


def test_the_mark_is_its_owners_alone_and_goes_on_from_one_start_to_the_next(tmp_path: Path) -> None:
    mark = Mark(tmp_path / "mark")
    mark.change()
    assert (tmp_path / "mark").stat().st_mode & 0o777 == 0o600
    assert Mark(tmp_path / "mark").read() == mark.read() != b""
