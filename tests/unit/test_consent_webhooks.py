"""Webhooks: what brands are told, that it is signed and in order, and that nobody else is ever connected to."""

import hashlib
import json
import logging
import ssl
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from sqlalchemy import select
from webhook_receiver import Receiver, authority, receiving

from consent import errors
from consent.client import ConsentClient
from consent.contract import Act
from consent.searching import LogQuery
from consent.service.courier import Courier, _alone
from consent.service.keys import Keyring
from consent.service.rewrapping import rotate_payload_key
from consent.service.targets import TargetRefusedError, Targets, is_public
from consent.service.webhooks import LONGEST_PAUSE, failures_within, pause_after
from consent.store.callers import WebhookRow
from consent.webhooks import MAX_EVENTS, NewWebhook, sign, verify

ANN, BEN = (hashlib.sha256(name.encode()).hexdigest() for name in ("ann", "ben"))


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with receiving(tmp_path) as found:
        yield found


@pytest.fixture
def world(consent_worlds: Callable[..., Any], receiver: Receiver, tmp_path: Path, database_url: str) -> Any:
    """A service that may tell the receiver on this machine, on both databases."""
    found = consent_worlds(webhook_loopback_ca=authority(tmp_path), database_url=database_url)
    found.declare("conversion")
    return found


def courier(world: Any, *, resolve: Any = None, days: int = 5) -> Courier:
    settings = world.settings
    targets = Targets(loopback=True, **({"resolve": resolve} if resolve else {}))
    return Courier(
        world.app.state.workplace,
        targets=targets,
        trust=ssl.create_default_context(cafile=settings.webhook_loopback_ca),
        interval=0.01,
        days=days,
        jitter=lambda: 1.0,
    )


def register(world: Any, receiver: Receiver, brand: str = "acme") -> NewWebhook:
    client: ConsentClient = world.brand_admin(brand)
    return client.register_webhook(receiver.url())


def events(receiver: Receiver) -> list[tuple[str, str]]:
    found = [event for one in receiver.received for event in json.loads(one.body)["events"]]
    return [(event["subject"], event["act"]) for event in found]


def test_a_brand_is_told_of_its_customers_choices_in_order_and_signed(world: Any, receiver: Receiver) -> None:
    world.record("acme", Act.GRANT, BEN)
    webhook = register(world, receiver)
    world.record("acme", Act.GRANT, ANN)
    world.record("bolt", Act.GRANT, BEN)
    world.record("acme", Act.WITHDRAW, ANN, BEN)
    assert courier(world).deliver_due() == 1
    (delivery,) = receiver.received
    said = verify(delivery.headers, delivery.body, webhook.secret, world.clock())
    assert [(event.subject, event.act) for event in said.events] == [
        (ANN, Act.GRANT),
        (ANN, Act.WITHDRAW),
        (BEN, Act.WITHDRAW),
    ]
    assert all(earlier.log_index < later.log_index for earlier, later in pairwise(said.events))
    assert (said.events[0].purpose, said.events[0].notice) == ("conversion", world.notices["conversion"])
    assert delivery.headers["host"] == f"localhost:{receiver.port}"
    assert delivery.path == "/told"
    assert courier(world).deliver_due() == 0


def test_what_was_not_taken_comes_again_later_and_later(world: Any, receiver: Receiver) -> None:
    register(world, receiver)
    world.record("acme", Act.GRANT, ANN)
    receiver.answers.extend([500, 307, 404])
    sender = courier(world)
    for failures in (1, 2, 3):
        assert sender.deliver_due() == 1
        (view,) = world.brand("acme").webhooks()
        assert (view.failures, view.active) == (failures, True)
        assert view.next_at == world.clock() + timedelta(seconds=2**failures)
        world.clock.advance(2**failures - 0.001)
        assert sender.deliver_due() == 0
        world.clock.advance(0.001)
    assert sender.deliver_due() == 1
    assert events(receiver) == [(ANN, "grant")] * 4
    assert {one.path for one in receiver.received} == {"/told"}
    assert len({one.headers["webhook-id"] for one in receiver.received}) == 1
    (view,) = world.brand("acme").webhooks()
    assert (view.failures, view.next_at) == (0, None)


def test_many_choices_come_in_batches_and_none_twice(world: Any, receiver: Receiver) -> None:
    register(world, receiver)
    subjects = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(MAX_EVENTS + 1)]
    world.record("acme", Act.GRANT, *subjects)
    sender = courier(world)
    assert [sender.deliver_due() for _ in range(3)] == [1, 1, 0]
    assert [subject for subject, _ in events(receiver)] == subjects
    assert [len(json.loads(one.body)["events"]) for one in receiver.received] == [MAX_EVENTS, 1]


@pytest.mark.parametrize(("days", "answer", "attempts"), [(1, 500, failures_within(1)), (5, 410, 1)])
def test_an_address_that_takes_nothing_is_given_up_and_the_log_says_so(
    world: Any, receiver: Receiver, days: int, answer: int, attempts: int
) -> None:
    webhook = register(world, receiver)
    world.record("acme", Act.GRANT, ANN)
    sender = courier(world, days=days)
    with world.app.state.workplace.database.writing() as session:
        session.get(WebhookRow, webhook.webhook_id).failures = attempts - 1
        session.flush()
    receiver.answers.append(answer)
    assert sender.deliver_due() == 1
    (view,) = world.brand("acme").webhooks()
    assert (view.active, view.failures, view.next_at) == (False, attempts, None)
    world.clock.advance(10 * 86_400)
    assert sender.deliver_due() == 0
    found = world.officer.search_log(LogQuery(kind="webhook_disabled")).entries
    assert [(one.payload["brand"], one.payload["webhook"]) for one in found] == [("acme", webhook.webhook_id)]


def test_pauses_grow_and_fill_the_days_before_an_address_is_given_up() -> None:
    pauses = [pause_after(failures) for failures in range(1, failures_within(5) + 1)]
    assert pauses[:4] == [2, 4, 8, 16]
    assert max(pauses) == LONGEST_PAUSE
    assert sum(pauses[:-1]) < 5 * 86_400 <= sum(pauses)
    assert pause_after(10_000) == LONGEST_PAUSE


def test_a_webhook_is_its_brands(world: Any, receiver: Receiver) -> None:
    webhook = register(world, receiver)
    spy = world.brand_admin("spy")
    assert spy.webhooks() == ()
    with pytest.raises(errors.NotFoundError):
        spy.remove_webhook(webhook.webhook_id)
    world.brand_admin("acme").remove_webhook(webhook.webhook_id)
    world.record("acme", Act.GRANT, ANN)
    assert courier(world).deliver_due() == 0
    with pytest.raises(errors.NotFoundError):
        world.brand_admin("acme").remove_webhook(webhook.webhook_id)


def test_the_secret_is_shown_once_and_sealed_in_the_database(world: Any, receiver: Receiver) -> None:
    webhook = register(world, receiver)
    with world.app.state.workplace.reading() as unit:
        (row,) = unit.session.scalars(select(WebhookRow))
    assert webhook.secret.encode() not in row.secret
    assert webhook.secret not in repr(world.brand("acme").webhooks())
    assert row.url == receiver.url()


def test_a_secret_outlives_the_rotation_of_the_payload_key(world: Any, receiver: Receiver) -> None:
    webhook = register(world, receiver)
    rotate_payload_key(world.app.state.workplace, world.settings.data_dir)
    with world.app.state.workplace.reading() as unit:
        sealed = unit.session.get(WebhookRow, webhook.webhook_id).secret
    started_anew = Keyring.load(world.settings.data_dir).vault
    assert started_anew.open_secret(webhook.webhook_id, sealed).decode() == webhook.secret
    with pytest.raises(errors.LogInconsistentError):
        started_anew.open_secret("0" * 32, sealed)
    world.record("acme", Act.GRANT, ANN)
    assert courier(world).deliver_due() == 1
    (delivery,) = receiver.received
    assert verify(delivery.headers, delivery.body, webhook.secret, world.clock()).events


def test_one_process_delivers_at_a_time(world: Any, receiver: Receiver) -> None:
    register(world, receiver)
    world.record("acme", Act.GRANT, ANN)
    with _alone(world.app.state.workplace) as mine:
        assert mine
        assert courier(world).deliver_due() == 0
    assert courier(world).deliver_due() == 1


def test_a_running_courier_delivers_and_stops(world: Any, receiver: Receiver) -> None:
    register(world, receiver)
    sender = courier(world)
    sender.start()
    world.record("acme", Act.GRANT, ANN)
    assert receiver.arrived.wait(30)
    sender.close()
    assert events(receiver)[0] == (ANN, "grant")


def test_no_line_names_an_address_or_a_customer(
    world: Any, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="confide.consent")
    webhook = register(world, receiver)
    world.record("acme", Act.GRANT, ANN)
    receiver.answers.append(500)
    courier(world).deliver_due()
    lines = "\n".join(record.getMessage() for record in caplog.records if record.name == "confide.consent")
    for word in (ANN, "acme", "localhost", "/told", webhook.secret):
        assert word not in lines


NOT_PUBLIC = [
    "127.0.0.1",
    "127.8.8.8",
    "0.0.0.0",  # noqa: S104
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "192.0.0.8",
    "198.18.0.1",
    "203.0.113.9",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "2001:0:7f00:1::",
    "fe80::1",
    "fec0::1",
    "fc00::1",
    "fd12:3456::1",
    "ff02::1",
    "2001:db8::1",
]
PUBLIC = ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "2a00:1450:4001::1"]


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_row_21_no_address_but_a_public_one_is_connected_to(address: str) -> None:
    literal = f"[{address}]" if ":" in address else address
    with pytest.raises(errors.InvalidRequestError):
        Targets().check_url(f"https://{literal}/told")

    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return ["8.8.8.8", address]

    with pytest.raises(TargetRefusedError):
        anyio.run(Targets(resolve=resolve).pinned, httpx.URL("https://brand.example/told"))


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_connected_to(address: str) -> None:
    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return [address]

    assert anyio.run(Targets(resolve=resolve).pinned, httpx.URL("https://brand.example/told")) == address
    assert is_public(ip_address(address))


BAD_URLS = [
    "http://brand.example/told",
    "https://user:password@brand.example/",
    "https://brand.example/#part",
    "https:///told",
    "https://brand.example:99999/",
    "https://[::1/",
    "ftp://brand.example/",
    "https://brand.example/ with space",
    "https://127.0.0.1/",
    "https://[::1]/",
]


@pytest.mark.parametrize("url", BAD_URLS)
def test_row_21_an_address_that_is_no_public_https_is_not_registered(consent_world: Any, url: str) -> None:
    consent_world.brand_admin("acme")
    headers = {"Authorization": f"Bearer {consent_world.tokens['admin-of-acme']}"}
    response = consent_world.http.post("/v1/webhooks", json={"url": url}, headers=headers)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_request")
    assert consent_world.brand("acme").webhooks() == ()


def test_row_21_a_name_that_changes_its_mind_is_connected_to_where_it_was_judged(
    world: Any, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each look-up would find another address; there is only one, and it is the one that is connected to."""

    def look_up(host: str, *_: object, **__: object) -> None:
        raise AssertionError(f"{host} was looked up again")

    monkeypatch.setattr("socket.getaddrinfo", look_up)
    register(world, receiver)
    world.record("acme", Act.GRANT, ANN)
    looked_up = []

    async def rebinding(host: str, port: int) -> Sequence[str]:
        looked_up.append((host, port))
        return ["127.0.0.1"] if len(looked_up) == 1 else ["10.0.0.1"]

    assert courier(world, resolve=rebinding).deliver_due() == 1
    assert (looked_up, receiver.connections) == ([("localhost", receiver.port)], 1)
    assert events(receiver) == [(ANN, "grant")]


def test_row_21_without_the_tests_setting_this_machine_is_refused(
    world: Any, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also by a name, also where a proxy is set, and the receiver sees no connection."""
    register(world, receiver)
    world.record("acme", Act.GRANT, ANN)
    for variable in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(variable, f"http://127.0.0.1:{receiver.port}")
    strict = Courier(
        world.app.state.workplace, targets=Targets(), trust=ssl.create_default_context(), interval=1, days=1
    )
    assert strict.deliver_due() == 1
    assert (receiver.connections, world.brand("acme").webhooks()[0].failures) == (0, 1)


def test_row_21_a_proxy_of_the_environment_is_not_used(
    world: Any, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:1")
    register(world, receiver)
    world.record("acme", Act.GRANT, ANN)
    assert courier(world).deliver_due() == 1
    assert events(receiver) == [(ANN, "grant")]


@pytest.mark.parametrize("trusted", [True, False])
def test_row_21_the_certificate_has_to_be_the_names(world: Any, receiver: Receiver, trusted: bool) -> None:
    """The address is right either way: 127.0.0.1 is in the certificate, the name is not."""
    client: ConsentClient = world.brand_admin("acme")
    client.register_webhook(receiver.url("localhost" if trusted else "brand.example"))
    world.record("acme", Act.GRANT, ANN)

    async def here(_host: str, _port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    courier(world, resolve=here).deliver_due()
    assert bool(receiver.received) is trusted


SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105


def test_signatures_are_those_of_standard_webhooks() -> None:
    """The vector of the reference implementations' own tests."""
    at = datetime.fromtimestamp(1614265330, UTC)
    headers = sign(SECRET, "msg_p5jXN8AQM9LWM0D4loKWxJek", at, b'{"test": 2432232314}')
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert headers["webhook-timestamp"] == "1614265330"


def test_row_21_an_unsigned_changed_or_replayed_delivery_is_refused(world: Any, receiver: Receiver) -> None:
    webhook = register(world, receiver)
    world.record("acme", Act.GRANT, ANN)
    courier(world).deliver_due()
    (delivery,) = receiver.received
    headers, body, now = delivery.headers, delivery.body, world.clock()

    def changed(**values: str) -> dict[str, str]:
        return {**headers, **{name.replace("_", "-"): value for name, value in values.items()}}

    forged = sign(SECRET, headers["webhook-id"], now, body)["webhook-signature"]
    stamp = headers["webhook-timestamp"]
    refused = [
        ({}, body, now),
        (changed(webhook_signature=""), body, now),
        (changed(webhook_signature=forged), body, now),
        (changed(webhook_signature=headers["webhook-signature"].replace("v1,", "v1a,")), body, now),
        (changed(webhook_signature="v1,***"), body, now),
        (changed(webhook_id="other"), body, now),
        (changed(webhook_timestamp=str(int(stamp) + 1)), body, now),
        (changed(webhook_timestamp="never"), body, now),
        (changed(webhook_timestamp="9" * 400), body, now),
        (headers, body + b" ", now),
        (headers, body, now + timedelta(seconds=301)),
        (headers, body, now - timedelta(seconds=302)),
    ]
    for sent, content, at in refused:
        with pytest.raises(errors.SignatureError):
            verify(sent, content, webhook.secret, at)
    both = changed(webhook_signature=f"{forged} {headers['webhook-signature']}")
    for at in (now, now + timedelta(seconds=299), now - timedelta(seconds=299)):
        assert verify(both, body, webhook.secret, at).events
    with pytest.raises(errors.InvalidRequestError):
        verify(sign(webhook.secret, "one", now, b"{}"), b"{}", webhook.secret, now)
