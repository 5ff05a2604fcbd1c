"""The agent's local service: only the relay gets in, nothing is echoed, and nothing changes on the way."""

import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
import pytest
import uvicorn

from client.errors import ClosingRefusalError, RefusalError
from client.http_port import AgentOverHttp, AgentUnreachableError
from client.port import (
    Hello,
    KeepRequest,
    ModelDelivery,
    OpenRequest,
    RoundReply,
    RoundRequest,
    SetupRequest,
    ShareRequest,
    Total,
)
from client.service import create_app
from consent.transport import InProcessTransport

RELAY = "relay-token"
ARRAYS = {
    "point": np.array([np.pi, -0.0, 5e-324, 1.7976931348623157e308]),
    "noise_shares": np.array([3], dtype=np.int64),
    "empty": np.zeros((0, 4)),
    "square": np.arange(6, dtype=np.int64).reshape(2, 3) - 2**62,
}
SUM = np.array([-(2**63), 2**63 - 1, 0], dtype=np.int64)
PRIVATE = "ann@example.com"


@dataclass
class Agent:
    """Answers with fixed values, or with the trouble that a test asks for."""

    trouble: Exception | None = None
    rounds: list[RoundRequest] = field(default_factory=list)
    models: list[ModelDelivery] = field(default_factory=list)
    runs: list[object] = field(default_factory=list)
    total: Total = field(default_factory=lambda: SUM)

    def hello(self) -> Hello:
        return Hello("ant", "k" * 44)

    def setup(self, request: SetupRequest) -> str:
        return self._say(request, "an advertisement")

    def share(self, request: ShareRequest) -> str:
        return self._say(request, "shares for all")

    def keep(self, request: KeepRequest) -> None:
        self._say(request, "")

    def open(self, request: OpenRequest) -> str:
        return self._say(request, "an unmasking")

    def _say(self, request: object, answer: str) -> str:
        self.runs.append(request)
        if self.trouble:
            raise self.trouble
        return answer

    def release(self, request: RoundRequest) -> RoundReply:
        self.rounds.append(request)
        if self.trouble:
            raise self.trouble
        return RoundReply("signed word", self.total)

    def install(self, delivery: ModelDelivery) -> None:
        self.models.append(delivery)
        if self.trouble:
            raise self.trouble


@pytest.fixture
def agent() -> Agent:
    return Agent()


@pytest.fixture
def http(agent: Agent) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {RELAY}"}
    transport = InProcessTransport(create_app(agent, relay_token=RELAY))
    with transport, httpx.Client(transport=transport, base_url="http://agent", headers=headers) as client:
        yield client


@pytest.fixture
def address(agent: Agent) -> Iterator[str]:
    """The agent behind a real socket on loopback."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(create_app(agent, relay_token=RELAY), log_level="critical", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join()


ROUTES = [
    ("GET", "/v1/hello"),
    ("POST", "/v1/rounds"),
    ("POST", "/v1/models"),
    ("POST", "/v1/runs/setup"),
    ("POST", "/v1/runs/share"),
    ("POST", "/v1/runs/keep"),
    ("POST", "/v1/runs/open"),
]
BODIES = {
    "/v1/rounds": {"task": "t", "manifest": "m", "arrays": {}},
    "/v1/models": {"task": "t", "release": "r", "arrays": {}},
    "/v1/runs/setup": {"task": "t", "setup": "s"},
    "/v1/runs/share": {"setup": "s", "advertisements": "a"},
    "/v1/runs/keep": {"setup": "s", "shares": "h"},
    "/v1/runs/open": {"setup": "s", "closing": "c"},
}


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize("header", [None, "", "Bearer ", "Bearer wrong", RELAY, "bearer " + RELAY, "Bearer \xe4"])
def test_only_the_relay_gets_in(
    method: str, path: str, header: str | None, http: httpx.Client, agent: Agent
) -> None:
    del http.headers["Authorization"]
    headers = {} if header is None else {b"Authorization": header.encode("latin-1")}
    answer = http.request(method, path, json=BODIES.get(path), headers=headers)  # type: ignore[arg-type]
    assert answer.status_code == 401
    assert answer.json()["error"] == "unauthenticated"
    assert agent.rounds == agent.models == agent.runs == []


def test_there_is_nothing_else_to_find(http: httpx.Client) -> None:
    for path in ("/", "/docs", "/openapi.json", "/redoc", "/v1/ledger"):
        assert http.get(path).status_code == 404
    assert http.get("/v1/rounds").status_code == 405


MALFORMED = {
    "not JSON": PRIVATE,
    "no fields": json.dumps({}),
    "unknown field": json.dumps({**BODIES["/v1/rounds"], PRIVATE: PRIVATE}),
    "array of text": json.dumps({**BODIES["/v1/rounds"], "arrays": {"point": PRIVATE}}),
    "unknown kind of number": json.dumps(
        {**BODIES["/v1/rounds"], "arrays": {"point": {"dtype": "object", "shape": [1], "data": PRIVATE}}}
    ),
    "bytes that are not base64": json.dumps(
        {**BODIES["/v1/rounds"], "arrays": {"point": {"dtype": "float64", "shape": [1], "data": PRIVATE}}}
    ),
    "bytes that do not fit the shape": json.dumps(
        {**BODIES["/v1/rounds"], "arrays": {"point": {"dtype": "float64", "shape": [2], "data": "AAAAAAAAAAA="}}}
    ),
    "masked numbers in a query": json.dumps(
        {**BODIES["/v1/rounds"], "arrays": {"point": {"dtype": "uint64", "shape": [1], "data": "AAAAAAAAAAA="}}}
    ),
    "negative shape": json.dumps(
        {**BODIES["/v1/rounds"], "arrays": {"point": {"dtype": "float64", "shape": [-1], "data": "AAAAAAAAAAA="}}}
    ),
}


@pytest.mark.parametrize("fault", MALFORMED)
def test_a_malformed_request_is_refused_and_not_echoed(fault: str, http: httpx.Client, agent: Agent) -> None:
    answer = http.post("/v1/rounds", content=MALFORMED[fault], headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["error"] == "malformed"
    assert PRIVATE not in answer.text
    assert agent.rounds == []


def test_a_fault_of_the_agent_says_nothing(address: str, agent: Agent) -> None:
    agent.trouble = RuntimeError(PRIVATE)
    headers = {"Authorization": f"Bearer {RELAY}"}
    answer = httpx.post(f"{address}/v1/rounds", json=BODIES["/v1/rounds"], headers=headers)
    assert answer.status_code == 500
    assert PRIVATE not in answer.text


def test_arrays_come_through_bit_for_bit(address: str, agent: Agent) -> None:
    with AgentOverHttp(address, RELAY) as port:
        assert port.hello() == agent.hello()
        reply = port.release(RoundRequest("a task", "a manifest", ARRAYS))
        port.install(ModelDelivery("a task", "a release", ARRAYS))
    assert reply.attestation == "signed word"
    assert (reply.total.dtype, reply.total.tolist()) == (np.int64, SUM.tolist())
    for received in (agent.rounds[0].arrays, agent.models[0].arrays):
        assert received.keys() == ARRAYS.keys()
        for name, array in ARRAYS.items():
            assert received[name].dtype == array.dtype
            assert received[name].shape == array.shape
            assert received[name].tobytes() == array.tobytes()
    assert (agent.rounds[0].task, agent.rounds[0].manifest) == ("a task", "a manifest")


def test_a_faulty_agent_is_a_refusal_to_the_relay(address: str, agent: Agent) -> None:
    agent.trouble = RuntimeError(PRIVATE)
    with AgentOverHttp(address, RELAY) as port, pytest.raises(AgentUnreachableError, match="not its own"):
        port.release(RoundRequest("", "", {}))


def test_the_messages_of_a_run_come_through(address: str, agent: Agent) -> None:
    with AgentOverHttp(address, RELAY) as port:
        assert port.setup(SetupRequest("a task", "a setup")) == "an advertisement"
        assert port.share(ShareRequest("a setup", "advertisements")) == "shares for all"
        port.keep(KeepRequest("a setup", "shares"))
        assert port.open(OpenRequest("a setup", "a closing")) == "an unmasking"
        port.release(RoundRequest("a task", "a manifest", {}, release="a release"))
    assert agent.runs == [
        SetupRequest("a task", "a setup"),
        ShareRequest("a setup", "advertisements"),
        KeepRequest("a setup", "shares"),
        OpenRequest("a setup", "a closing"),
    ]
    assert agent.rounds[0].release == "a release"


@pytest.mark.parametrize("kind", [np.uint32, np.uint64])
def test_masked_sums_come_through_bit_for_bit(
    kind: type[np.unsignedinteger[Any]], address: str, agent: Agent
) -> None:
    agent.total = np.array([0, 1, np.iinfo(kind).max], dtype=kind)
    with AgentOverHttp(address, RELAY) as port:
        total = port.release(RoundRequest("", "", {})).total
    assert (total.dtype, total.tolist()) == (agent.total.dtype, agent.total.tolist())


def test_a_refusal_of_a_run_keeps_its_code(address: str, agent: Agent) -> None:
    agent.trouble = ClosingRefusalError("Another closing was answered.")
    with AgentOverHttp(address, RELAY) as port, pytest.raises(RefusalError, match="Another closing") as refused:
        port.open(OpenRequest("", ""))
    assert refused.value.code == "closing_refused"
