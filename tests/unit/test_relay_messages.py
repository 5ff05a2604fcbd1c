"""The Flower relay: it passes text and arrays through, both ways, unchanged."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict

from client.errors import RefusalError
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
from client.relay import build_client_app
from consent.contract import wire
from server.local_grid import FIRST_NODE_ID, LocalGrid

POINT = np.array([0.1, -0.0, 1e-300, np.pi])
SUM = np.array([2**62, -3, 0], dtype=np.int64)


@dataclass
class RecordingAgent:
    """Keeps what it is asked, and answers the same to everything."""

    refusal: Exception | None = None
    rounds: list[RoundRequest] = field(default_factory=list)
    models: list[ModelDelivery] = field(default_factory=list)
    runs: list[object] = field(default_factory=list)
    total: Total = field(default_factory=lambda: SUM)

    def hello(self) -> Hello:
        return Hello("ant", "key of ant")

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
        return answer

    def release(self, request: RoundRequest) -> RoundReply:
        self.rounds.append(request)
        if self.refusal:
            raise self.refusal
        return RoundReply("signed word", self.total)

    def install(self, delivery: ModelDelivery) -> None:
        self.models.append(delivery)
        if self.refusal:
            raise self.refusal


def ask(agent: RecordingAgent, kind: str, texts: dict[str, str] | None = None) -> Message:
    content = RecordDict()
    if texts is not None:
        content[wire.TEXTS] = ConfigRecord(dict(texts))
        content[wire.ARRAYS] = ArrayRecord({"point": Array(POINT), "noise_shares": Array(SUM)})
    grid = LocalGrid(build_client_app(lambda _context: agent), [{}])
    (reply,) = grid.send_and_receive([Message(content, dst_node_id=FIRST_NODE_ID, message_type=kind)])
    return reply


def test_a_round_is_passed_on_and_its_answer_passed_back() -> None:
    agent = RecordingAgent()
    reply = ask(
        agent, wire.ROUND_MESSAGE, {wire.TASK: "a task", wire.MANIFEST: "a manifest", wire.RELEASE: "a release"}
    )
    (request,) = agent.rounds
    assert (request.task, request.manifest, request.release) == ("a task", "a manifest", "a release")
    assert request.arrays["point"].tobytes() == POINT.tobytes()
    assert request.arrays["noise_shares"].dtype == np.int64
    assert reply.content[wire.TEXTS][wire.ATTESTATION] == "signed word"
    total = reply.content[wire.ARRAYS][wire.SUM].numpy()
    assert (total.dtype, total.tolist()) == (np.int64, SUM.tolist())


def test_a_model_is_passed_on() -> None:
    agent = RecordingAgent()
    reply = ask(agent, wire.INSTALL_MESSAGE, {wire.TASK: "a task", wire.RELEASE: "a release"})
    (delivery,) = agent.models
    assert (delivery.task, delivery.release) == ("a task", "a release")
    assert delivery.arrays["point"].tobytes() == POINT.tobytes()
    assert not reply.has_error()
    assert not reply.content


def test_a_brand_says_who_it_is() -> None:
    reply = ask(RecordingAgent(), wire.HELLO_MESSAGE)
    assert dict(reply.content[wire.TEXTS]) == {wire.BRAND: "ant", wire.KEY: "key of ant"}


def test_a_message_without_records_reaches_the_agent_as_empty() -> None:
    agent = RecordingAgent(RefusalError("malformed"))
    ask(agent, wire.ROUND_MESSAGE)
    (request,) = agent.rounds
    assert (request.task, request.manifest, request.release, dict(request.arrays)) == ("", "", "", {})


@pytest.mark.parametrize("kind", [np.uint32, np.uint64])
def test_masked_sums_pass_bit_for_bit(kind: type[np.unsignedinteger[Any]]) -> None:
    total = np.array([0, 1, np.iinfo(kind).max], dtype=kind)
    reply = ask(RecordingAgent(total=total), wire.ROUND_MESSAGE, {wire.TASK: "a task"})
    passed = reply.content[wire.ARRAYS][wire.SUM].numpy()
    assert (passed.dtype, passed.tolist()) == (total.dtype, total.tolist())


TEXTS = {
    wire.TASK: "a task",
    wire.SETUP: "a setup",
    wire.ADVERTISEMENTS: "all advertisements",
    wire.SHARES: "shares for one",
    wire.CLOSING: "a closing",
}
RUN_MESSAGES = {
    wire.SETUP_MESSAGE: (SetupRequest("a task", "a setup"), {wire.ADVERTISEMENT: "an advertisement"}),
    wire.SHARE_MESSAGE: (ShareRequest("a setup", "all advertisements"), {wire.SHARES: "shares for all"}),
    wire.KEEP_MESSAGE: (KeepRequest("a setup", "shares for one"), None),
    wire.OPEN_MESSAGE: (OpenRequest("a setup", "a closing"), {wire.UNMASKING: "an unmasking"}),
}


@pytest.mark.parametrize("kind", RUN_MESSAGES)
def test_a_message_of_a_run_is_passed_on_and_its_answer_passed_back(kind: str) -> None:
    agent = RecordingAgent()
    request, answer = RUN_MESSAGES[kind]
    reply = ask(agent, kind, TEXTS)
    assert agent.runs == [request]
    if answer is None:
        assert not reply.has_error()
        assert not reply.content
    else:
        assert dict(reply.content[wire.TEXTS]) == answer
