"""How often somebody may ask: buckets that refill, shares of workers, and whose bucket a request is taken from."""

import hashlib
from typing import Any

import httpx
import pytest

from consent import errors
from consent.client import ConsentClient
from consent.contract import Act, DecisionQuery
from consent.credentials import ApiKeyRequest
from consent.rates import Rate
from consent.service import limits
from consent.service.limits import Limits
from consent.service.work import Caller
from consent.serving import server_config
from consent.settings import ConsentSettings
from consent.transport import InProcessTransport
from consent.wire import Role

PURPOSE = "conversion"
ANN = hashlib.sha256(b"ann").hexdigest()
ACME = Caller(id=1, role=Role.BRAND, name="acme", public_key=None)
BRAVO = Caller(id=2, role=Role.BRAND, name="bravo", public_key=None)
FEW = Rate(2, 4)


class Ticks:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def ticks() -> Ticks:
    return Ticks()


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every bucket holds four, and two a second."""
    for name in ("REQUESTS", "CAREFUL", "ABOUT_SUBJECT", "SUBJECT", "PEER", "WRONG_TOKENS"):
        monkeypatch.setattr(limits, name, FEW)
    monkeypatch.setattr(limits, "WORK", {"decisions": FEW, "choices": FEW})


def taken(limit: Limits, count: int = 100) -> int:
    """How many requests pass at once."""
    for passed in range(count):
        try:
            limit.admit(ACME, "log/search")
        except errors.RateLimitedError:
            return passed
    return count


@pytest.mark.usefixtures("few")
def test_a_burst_passes_and_then_the_rate(ticks: Ticks) -> None:
    limit = Limits(now=ticks)
    assert taken(limit) == 4
    ticks.now += 0.5
    assert taken(limit) == 1
    ticks.now += 3_600
    assert taken(limit) == 4


@pytest.mark.usefixtures("few")
def test_who_comes_back_when_told_is_let_in(ticks: Ticks) -> None:
    limit = Limits(now=ticks)
    taken(limit)
    with pytest.raises(errors.RateLimitedError) as refused:
        limit.admit(ACME, "log/search")
    ticks.now += refused.value.retry_after
    limit.admit(ACME, "log/search")


@pytest.mark.usefixtures("few")
def test_row_18_workers_give_out_one_rate_between_them(ticks: Ticks) -> None:
    workers = [Limits(workers=4, now=ticks) for _ in range(4)]
    for worker in workers:
        taken(worker)
    ticks.now += 2
    assert sum(map(taken, workers)) == 4


@pytest.mark.usefixtures("few")
def test_a_factor_multiplies_all(ticks: Ticks) -> None:
    assert taken(Limits(factor=5, now=ticks)) == 20


@pytest.mark.usefixtures("few")
def test_principals_wait_for_themselves_alone(ticks: Ticks) -> None:
    limit = Limits(now=ticks)
    taken(limit)
    limit.admit(BRAVO, "log/search")


@pytest.mark.usefixtures("few")
def test_a_batch_counts_by_its_items_and_is_taken_while_anything_is_left(ticks: Ticks) -> None:
    limit = Limits(now=ticks)
    limit.spend(ACME, "decisions", 10)
    with pytest.raises(errors.RateLimitedError) as refused:
        limit.spend(ACME, "decisions", 1)
    assert refused.value.retry_after == 4
    limit.spend(ACME, "choices", 1)
    ticks.now += 4
    limit.spend(ACME, "decisions", 1)


@pytest.mark.usefixtures("few")
def test_one_customer_is_asked_about_by_all_together(ticks: Ticks) -> None:
    limit = Limits(now=ticks)
    for _ in range(4):
        limit.about("acme", ANN)
    with pytest.raises(errors.RateLimitedError):
        limit.about("acme", ANN)
    limit.about("bravo", ANN)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("203.0.113.5", "203.0.113.5", True),
        ("203.0.113.5", "203.0.113.6", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("203.0.113.5", "::ffff:203.0.113.5", True),
        ("testclient", "testclient", True),
    ],
)
def test_a_peer_is_an_address_or_what_a_subscriber_of_ipv6_is_given(
    ticks: Ticks, first: str, second: str, *, same: bool
) -> None:
    limit = Limits(now=ticks)
    for _ in range(4):
        limit.peer(first)
    if same:
        with pytest.raises(errors.RateLimitedError):
            limit.peer(second)
    else:
        limit.peer(second)


@pytest.mark.usefixtures("few")
def test_many_peers_take_a_bounded_memory_and_forget_no_empty_bucket(
    ticks: Ticks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_BUCKETS", 50)
    limit = Limits(now=ticks)
    for _ in range(4):
        limit.peer("203.0.113.5")
    for number in range(1_000):
        limit.peer(f"198.51.{number // 250}.{number % 250}")
    assert len(limit._full_at) <= 51
    with pytest.raises(errors.RateLimitedError):
        limit.peer("203.0.113.5")


def small(world: Any) -> None:
    """Give the world full buckets of the default size, whose clock stands still."""
    world.app.state.workplace.limits = Limits(now=lambda: 0.0)


@pytest.fixture
def world(consent_world: Any) -> Any:
    consent_world.record("acme", Act.GRANT, ANN)
    consent_world.brand("bravo")
    return consent_world


def answers(world: Any, token: str | None, count: int, **sent: Any) -> list[httpx.Response]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    method, path = sent.pop("at", ("GET", "/v1/keys"))
    headers |= sent.pop("headers", {})
    return [world.http.request(method, path, headers=headers, **sent) for _ in range(count)]


@pytest.mark.usefixtures("few")
def test_too_many_requests_are_told_when_to_come_back(world: Any) -> None:
    small(world)
    *before, last = answers(world, world.tokens["acme"], 5)
    assert [answer.status_code for answer in before] == [200] * 4
    assert (last.status_code, last.json()["code"]) == (429, "rate_limited")
    assert int(last.headers["retry-after"]) >= 1
    assert answers(world, world.tokens["bravo"], 1)[0].status_code == 200


@pytest.mark.usefixtures("few")
def test_row_18_keys_of_one_principal_share_its_bucket(world: Any) -> None:
    acme = world.brand("acme")
    made = [
        acme.create_api_key(ApiKeyRequest(label=label, scopes=("get:keys",), days=1)).key
        for label in ("one", "two")
    ]
    small(world)
    statuses = [answers(world, token, 1)[0].status_code for token in (*made, *made, world.tokens["acme"])]
    assert statuses == [200] * 4 + [429]


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via", "CF-Connecting-IP"])
def test_row_18_no_header_makes_another_peer(world: Any, header: str) -> None:
    small(world)
    statuses = [
        answers(world, None, 1, headers={header: f"198.51.100.{number}"})[0].status_code for number in range(6)
    ]
    assert statuses == [401] * 4 + [429] * 2


@pytest.mark.usefixtures("few")
def test_row_16_guessing_tokens_stops_and_locks_nobody_out(world: Any) -> None:
    small(world)
    guesses = [answers(world, f"{number:043d}", 1)[0].status_code for number in range(6)]
    assert guesses == [401] * 4 + [429] * 2
    assert answers(world, world.tokens["acme"], 1)[0].status_code == 200


@pytest.mark.usefixtures("few")
def test_row_16_tokens_of_one_customer_are_minted_at_a_bounded_rate(world: Any) -> None:
    world.brand_admin("acme")
    small(world)
    body = {"brand": "acme", "subject": ANN, "verified_by": "letter"}
    at = ("POST", "/v1/subject-tokens")
    minted = answers(world, world.tokens["acme"], 2, at=at, json=body)
    minted += answers(world, world.tokens["admin-of-acme"], 3, at=at, json=body)
    assert [answer.status_code for answer in minted] == [200] * 4 + [429]


@pytest.mark.parametrize(
    ("path", "passed"), [("log/search", 200), ("subjects/access", 200), ("whatever-is-new", 200)]
)
def test_what_is_not_known_to_be_asked_all_the_time_is_asked_with_care(
    ticks: Ticks, path: str, passed: int
) -> None:
    limit = Limits(now=ticks)
    for _ in range(passed):
        limit.admit(ACME, path)
    with pytest.raises(errors.RateLimitedError):
        limit.admit(ACME, path)
    for quick in ("choices", "decisions", "snapshots/current/head", "subjects/withdrawal"):
        limit.admit(ACME, quick)


@pytest.mark.usefixtures("few")
def test_questions_count_one_by_one_and_withdrawals_do_not_count_by_customer(world: Any) -> None:
    acme: ConsentClient = world.brand("acme")
    small(world)
    acme.decide([DecisionQuery(brand="acme", subject=ANN, purpose=PURPOSE)] * 6)
    with pytest.raises(errors.RateLimitedError) as refused:
        acme.decide([DecisionQuery(brand="acme", subject=ANN, purpose=PURPOSE)])
    assert refused.value.retry_after == 2
    for _ in range(4):
        world.app.state.workplace.limits.about("acme", ANN)
    with pytest.raises(errors.RateLimitedError):
        acme.participation("acme", ANN)
    assert world.record("acme", Act.WITHDRAW, ANN)


@pytest.mark.parametrize(("trusted", "peers"), [((), 1), (("127.0.0.1/32",), 6), (("192.0.2.0/24",), 1)])
def test_row_18_only_a_trusted_proxy_is_believed_whom_it_speaks_for(
    world: Any, few: None, trusted: tuple[str, ...], peers: int
) -> None:
    """The requests come from 127.0.0.1, which the server would believe if it were left at its defaults."""
    settings = ConsentSettings(data_dir=world.settings.data_dir, trusted_proxies=trusted)
    config = server_config(world.app, settings)
    config.load()
    small(world)
    with InProcessTransport(config.loaded_app) as transport, httpx.Client(transport=transport) as http:
        sent = [{"X-Forwarded-For": f"198.51.100.{number}"} for number in range(6)]
        statuses = [http.get("http://consent/v1/keys", headers=header).status_code for header in sent]
    assert statuses == ([401] * 6 if peers == 6 else [401] * 4 + [429] * 2)


def test_limits_are_on_by_default() -> None:
    limit = Limits(now=lambda: 0.0)
    assert taken(limit, 1_000) < 1_000
