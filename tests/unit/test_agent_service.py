"""The agent's local service: only the relay gets in, nothing is echoed, and nothing changes on the way."""

import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx
import numpy as np
import pytest
import uvicorn

from client.http_port import AgentOverHttp, AgentUnreachableError
from client.port import Hello, ModelDelivery, RoundReply, RoundRequest
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

    def hello(self) -> Hello:
        return Hello("ant", "k" * 44)

    def release(self, request: RoundRequest) -> RoundReply:
        self.rounds.append(request)
        if self.trouble:
            raise self.trouble
        return RoundReply("signed word", SUM)

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


ROUTES = [("GET", "/v1/hello"), ("POST", "/v1/rounds"), ("POST", "/v1/models")]
BODIES = {
    "/v1/rounds": {"task": "t", "manifest": "m", "arrays": {}},
    "/v1/models": {"task": "t", "release": "r", "arrays": {}},
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
    assert agent.rounds == []
    assert agent.models == []


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
