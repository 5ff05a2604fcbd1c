"""The relay tells the coordinator what an agent released or why it refused, and nothing else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.supercore.task_identity import TaskIdentity

from client.app import app as deployed_app
from client.errors import CohortRefusalError
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
from client.relay import build_client_app
from consent.contract import wire

PRIVATE = "/srv/birch/customers.csv: customer-7"
KINDS = (
    wire.ROUND_MESSAGE,
    wire.HELLO_MESSAGE,
    wire.INSTALL_MESSAGE,
    wire.SETUP_MESSAGE,
    wire.SHARE_MESSAGE,
    wire.KEEP_MESSAGE,
    wire.OPEN_MESSAGE,
)


class FailingAgent:
    """Raises the same error whatever it is asked."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def hello(self) -> Hello:
        raise self._error

    def setup(self, request: SetupRequest) -> str:
        raise self._error

    def share(self, request: ShareRequest) -> str:
        raise self._error

    def keep(self, request: KeepRequest) -> None:
        raise self._error

    def open(self, request: OpenRequest) -> str:
        raise self._error

    def release(self, request: RoundRequest) -> RoundReply:
        raise self._error

    def install(self, delivery: ModelDelivery) -> None:
        raise self._error


@pytest.fixture
def ask() -> Callable[..., Message]:
    TaskIdentity.run_id = TaskIdentity.task_id = TaskIdentity.node_id = 1

    def send(app: ClientApp, kind: str, **node_config: Any) -> Message:
        return app(
            Message(RecordDict(), dst_node_id=7, message_type=kind), Context(1, 7, node_config, RecordDict(), {})
        )

    return send


def everything_in(reply: Message) -> str:
    assert not reply.has_error(), "Flower would send the text of an exception"
    return str({name: dict(record) for name, record in reply.content.config_records.items()})


@pytest.mark.parametrize("kind", KINDS)
def test_an_unexpected_error_is_named_by_its_type_alone(kind: str, ask: Callable[..., Message]) -> None:
    app = build_client_app(lambda _context: FailingAgent(FileNotFoundError(PRIVATE)))
    said = everything_in(ask(app, kind))
    assert "relay_failed" in said
    assert "FileNotFoundError" in said
    assert PRIVATE not in said


@pytest.mark.parametrize("kind", KINDS)
def test_a_refusal_is_passed_on(kind: str, ask: Callable[..., Message]) -> None:
    reply = ask(build_client_app(lambda _context: FailingAgent(CohortRefusalError("Too few."))), kind)
    assert dict(reply.content.config_records[wire.TEXTS]) == {
        wire.REFUSAL_CODE: "cohort_too_small",
        wire.REFUSAL_REASON: "Too few.",
    }


@pytest.mark.parametrize(
    "node_config", [{}, {"agent-url": "http://127.0.0.1:1", "agent-token-file": "no-such-folder/relay.token"}]
)
def test_a_node_that_leads_to_no_agent_says_so(node_config: dict[str, str], ask: Callable[..., Message]) -> None:
    said = everything_in(ask(deployed_app, wire.ROUND_MESSAGE, **node_config))
    assert "node_misconfigured" in said
    assert "no-such-folder" not in said


@pytest.mark.usefixtures("ask")
def test_neither_run_config_nor_message_can_name_the_agent(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("stolen")
    context = Context(1, 7, {}, RecordDict(), {"agent-url": "http://127.0.0.1:1", "agent-token-file": str(token)})
    said = ConfigRecord(dict(context.run_config))
    message = Message(RecordDict({wire.TEXTS: said}), dst_node_id=7, message_type=wire.ROUND_MESSAGE)
    assert "node_misconfigured" in everything_in(deployed_app(message, context))
