"""A client comes back when it is told to: not earlier, not for ever, and only where a repeat is safe."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from client.settings import AgentSettings
from consent import errors
from consent.client import IMPATIENT, PATIENT, ConsentClient, Patience
from consent.client.patience import MOST_SPREAD
from consent.contract import Act, Choice, DecisionQuery
from consent.problem import Problem
from consent.service import limits
from consent.service.limits import Limits

ANN = hashlib.sha256(b"ann").hexdigest()
CHOICE = Choice(brand="acme", subject=ANN, act=Act.WITHDRAW, purpose="conversion")
QUERY = DecisionQuery(brand="acme", subject=ANN, purpose="conversion")


def refusal(status: int, after: str | None, code: str = "rate_limited") -> httpx.Response:
    headers = {} if after is None else {"Retry-After": after}
    return httpx.Response(status, text=Problem.of(code, "Come back.", status).model_dump_json(), headers=headers)


@dataclass
class Service:
    """Answers in turn, the last answer from then on, and keeps what it was sent and when who waited came back."""

    answers: Sequence[httpx.Response]
    spread: float = 0.0
    sent: list[httpx.Request] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.sent.append(request)
        return self.answers[min(len(self.sent), len(self.answers)) - 1]

    def client(self, seconds: float = PATIENT.seconds) -> ConsentClient:
        http = httpx.Client(transport=httpx.MockTransport(self), base_url="http://consent")
        patience = Patience(seconds, sleep=self.waited.append, spread=lambda: self.spread)
        return ConsentClient(http, "token", patience=patience)


DONE = httpx.Response(200, text='{"snapshots":"' + "A" * 43 + '=","log":"key"}')


def test_it_waits_as_long_as_it_is_told_and_comes_back() -> None:
    service = Service([refusal(429, "3"), refusal(503, "7", "busy"), DONE])
    assert service.client().service_key() == "A" * 43 + "="
    assert service.waited == [3, 7]


def test_a_repeat_is_the_same_request_under_the_same_key() -> None:
    service = Service([refusal(429, "1"), refusal(429, "1"), httpx.Response(204)])
    service.client().merge("acme", ANN, "1" * 64)
    assert len({request.headers["idempotency-key"] for request in service.sent}) == 1
    assert len({request.content for request in service.sent}) == 1
    assert len(service.sent) == 3


def test_every_call_has_a_key_of_its_own() -> None:
    service = Service([httpx.Response(204)])
    for _ in range(3):
        service.client().merge("acme", ANN, "1" * 64)
    assert len({request.headers["idempotency-key"] for request in service.sent}) == 3


@pytest.mark.parametrize("after", ["0", "1", "7", "29", "30"])
@pytest.mark.parametrize("seconds", [0, 1, 10, 30, 100])
@pytest.mark.parametrize("spread", [0.0, MOST_SPREAD])
def test_all_waits_together_are_bounded(after: str, seconds: float, spread: float) -> None:
    service = Service([refusal(429, after)], spread)
    with pytest.raises(errors.RateLimitedError) as caught:
        service.client(seconds).service_key()
    assert caught.value.retry_after == int(after)
    step = max(int(after), 1) * (1 + spread)
    assert service.waited == [step] * int(seconds // step)
    assert len(service.sent) == len(service.waited) + 1


def test_who_has_no_patience_hears_at_once() -> None:
    service = Service([refusal(503, "1", "busy")])
    http = httpx.Client(transport=httpx.MockTransport(service), base_url="http://consent")
    with pytest.raises(errors.BusyError):
        ConsentClient(http, "token", patience=IMPATIENT).service_key()
    assert len(service.sent) == 1


CALLS: dict[str, tuple[Callable[[ConsentClient], object], bool]] = {
    "get": (lambda client: client.service_key(), True),
    "delete": (lambda client: client.remove_webhook("0" * 32), True),
    "post under a key of its own": (lambda client: client.merge("acme", ANN, "1" * 64), True),
    "post with a key in its body": (lambda client: client.record([CHOICE], idempotency_key="k"), True),
    "signal under a key": (lambda client: client.honour_gpc("acme", ANN, ["1"], idempotency_key="k"), True),
    "signal without a key": (lambda client: client.honour_gpc("acme", ANN, ["1"]), False),
    "string without a key": (lambda client: client.import_tcf("acme", ANN, "C"), False),
    "question": (lambda client: client.decide([QUERY]), False),
    "roster": (lambda client: client.roster("conversion"), False),
    "stream": (lambda client: client.events(0).__enter__(), False),
}


@pytest.mark.parametrize(("call", "repeats"), CALLS.values(), ids=list(CALLS))
@pytest.mark.parametrize("status", [429, 503])
def test_only_what_has_no_second_effect_is_repeated(
    call: Callable[[ConsentClient], object], status: int, *, repeats: bool
) -> None:
    service = Service([refusal(status, "10")])
    with pytest.raises(errors.RateLimitedError):
        call(service.client())
    assert len(service.waited) == (3 if repeats else 0)


@pytest.mark.parametrize(
    ("status", "after"),
    [(429, None), (503, None), (503, "Fri, 31 Dec 2027 23:59:59 GMT"), (503, "-1"), (503, "1.5")],
)
def test_who_is_not_told_when_does_not_come_back(status: int, after: str | None) -> None:
    service = Service([refusal(status, after), DONE])
    with pytest.raises(errors.RateLimitedError):
        service.client().service_key()
    assert service.waited == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 500, 502])
def test_any_other_refusal_is_final(status: int) -> None:
    service = Service([refusal(status, "1", "conflict"), DONE])
    with pytest.raises(errors.ConflictError):
        service.client().service_key()
    assert service.waited == []


def test_those_who_were_refused_together_come_back_apart() -> None:
    drawn = {PATIENT.spread() for _ in range(100)}
    assert len(drawn) > 90
    assert all(0 <= one <= MOST_SPREAD for one in drawn)


def test_a_service_that_limits_is_heard_out(consent_world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real limits, on a clock that goes on while the client waits."""

    class Ticks:
        now = 0.0

        def __call__(self) -> float:
            return self.now

        def sleep(self, seconds: float) -> None:
            self.now += seconds

    ticks = Ticks()
    consent_world.brand("acme")
    monkeypatch.setattr(limits, "REQUESTS", limits.Rate(0.25, 1))
    monkeypatch.setattr(limits, "CAREFUL", limits.Rate(0.25, 1))
    consent_world.app.state.workplace.limits = Limits(now=ticks)
    patient = ConsentClient(consent_world.http, consent_world.tokens["acme"], patience=Patience(sleep=ticks.sleep))
    for other in ("1" * 64, "2" * 64, "3" * 64):
        patient.merge("acme", ANN, other)
    assert 8 <= ticks.now <= 8 * (1 + MOST_SPREAD) + 2


def test_the_wait_of_an_agent_is_a_setting(tmp_path: Path) -> None:
    key = "A" * 43 + "="
    values: dict[str, Any] = {
        "brand": "acme",
        "data_dir": tmp_path,
        "consent_url": "http://consent",
        "consent_token_file": tmp_path / "token",
        "consent_key": key,
        "coordinator_key": key,
        "customers": {"kind": "table", "path": tmp_path, "id_column": "id"},
        "purposes": {},
        "relay_token_file": tmp_path / "relay",
    }
    assert AgentSettings(**values).consent_patience == 30
    assert AgentSettings(**values, consent_patience=5).consent_patience == 5
