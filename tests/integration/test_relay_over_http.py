"""The relay's way to the agent over a real local port: every route, the token, and refusals by their own code."""

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest
import uvicorn

from client.errors import RefusalError, StaleRoundError
from client.http_port import AgentOverHttp
from client.port import (
    Hello,
    KeepRequest,
    ModelDelivery,
    OpenRequest,
    RoundReply,
    RoundRequest,
    SetupRequest,
    ShareRequest,
)
from client.service import create_app

RELAY = "relay-token"
REPLY = RoundReply(attestation="{}", total=np.array([-3, 0, 2**40], dtype=np.int64))
ARRAYS = {"point": np.zeros(0), "grid": np.array([[0.1, np.pi]]), "counts": np.array([7], dtype=np.int64)}


@dataclass
class RecordingAgent:
    rounds: list[RoundRequest] = field(default_factory=list)
    models: list[ModelDelivery] = field(default_factory=list)

    def hello(self) -> Hello:
        return Hello(brand="birch", key="a key")

    def setup(self, request: SetupRequest) -> str:
        return self._say(request, "an advertisement")

    def share(self, request: ShareRequest) -> str:
        return self._say(request, "shares for all")

    def keep(self, request: KeepRequest) -> None:
        self._say(request, "")

    def open(self, request: OpenRequest) -> str:
        return self._say(request, "an unmasking")

    def _say(self, request: object, answer: str) -> str:
        del request
        return answer

    def release(self, request: RoundRequest) -> RoundReply:
        if request.task == "stale":
            raise StaleRoundError("Open the round anew.")
        self.rounds.append(request)
        return REPLY

    def install(self, delivery: ModelDelivery) -> None:
        self.models.append(delivery)


@pytest.fixture
def served() -> Iterator[tuple[RecordingAgent, str]]:
    agent = RecordingAgent()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(create_app(agent, relay_token=RELAY), log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield agent, f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join()


def test_every_call_arrives_as_it_was_made(served: tuple[RecordingAgent, str]) -> None:
    agent, url = served
    with AgentOverHttp(url, RELAY) as port:
        assert port.hello() == Hello(brand="birch", key="a key")
        reply = port.release(RoundRequest("task", "manifest", ARRAYS))
        port.install(ModelDelivery("task", "release", ARRAYS))
    assert reply.attestation == REPLY.attestation
    np.testing.assert_array_equal(reply.total, REPLY.total)
    assert reply.total.dtype == np.int64
    for arrays in (agent.rounds[0].arrays, agent.models[0].arrays):
        assert arrays.keys() == ARRAYS.keys()
        for name, array in ARRAYS.items():
            np.testing.assert_array_equal(arrays[name], array, strict=True)


def test_refusals_keep_their_code(served: tuple[RecordingAgent, str]) -> None:
    _, url = served
    with AgentOverHttp(url, RELAY) as port, pytest.raises(RefusalError) as stale:
        port.release(RoundRequest("stale", "manifest", {}))
    with AgentOverHttp(url, "another") as stranger, pytest.raises(RefusalError) as unknown:
        stranger.hello()
    assert (stale.value.code, str(stale.value)) == ("stale_round", "Open the round anew.")
    assert unknown.value.code == "unauthenticated"


def test_a_port_that_nobody_answers_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closing:
        url = f"http://127.0.0.1:{closing.getsockname()[1]}"
    with AgentOverHttp(url, RELAY) as port, pytest.raises(RefusalError) as refusal:
        port.hello()
    assert refusal.value.code == "agent_unreachable"
