"""The Flower ClientApp: it passes the coordinator's messages to the agent and the agent's answers back.

Flower ships this code from the coordinator, so it may be anyone's. It holds no data, no key and no decision;
whatever it does, the agent behind the port releases only what its own checks allow.
"""

import traceback
from collections.abc import Callable

import structlog
from flwr.app import Array, ArrayRecord, ConfigRecord, ConfigRecordValues, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from client.errors import RefusalError
from client.port import (
    AgentPort,
    Arrays,
    KeepRequest,
    ModelDelivery,
    OpenRequest,
    RoundRequest,
    SetupRequest,
    ShareRequest,
)
from consent.contract import wire

_LOG = structlog.get_logger()

RELAY_FAILED = "relay_failed"


def build_client_app(agent_for: Callable[[Context], AgentPort]) -> ClientApp:
    """Return a ClientApp that relays to the agent that `agent_for` finds for a node's context."""
    app = ClientApp()

    @app.train()
    def relay_round(message: Message, context: Context) -> Message:
        return _answer(message, lambda: _round(message, agent_for(context)))

    @app.query("hello")
    def relay_hello(message: Message, context: Context) -> Message:
        return _answer(message, lambda: _hello(agent_for(context)))

    @app.query("setup")
    def relay_setup(message: Message, context: Context) -> Message:
        return _answer(message, lambda: _setup(message, agent_for(context)))

    @app.query("share")
    def relay_share(message: Message, context: Context) -> Message:
        return _answer(message, lambda: _share(message, agent_for(context)))

    @app.query("keep")
    def relay_keep(message: Message, context: Context) -> Message:
        return _answer(message, lambda: _keep(message, agent_for(context)))

    @app.query("open")
    def relay_open(message: Message, context: Context) -> Message:
        return _answer(message, lambda: _open(message, agent_for(context)))

    @app.query("install")
    def relay_install(message: Message, context: Context) -> Message:
        return _answer(message, lambda: _install(message, agent_for(context)))

    return app


def _answer(message: Message, act: Callable[[], RecordDict]) -> Message:
    """Reply with what `act` returns, or with why not; Flower itself would send an exception's text as it is."""
    try:
        content = act()
    except RefusalError as refusal:
        content = _refusal(refusal.code, str(refusal))
    except Exception as error:
        where = "".join(traceback.format_tb(error.__traceback__))
        _LOG.error("relay failed", error=type(error).__name__, where=where)
        content = _refusal(RELAY_FAILED, f"The relay raised {type(error).__name__}; look at the node's own log.")
    return Message(content, reply_to=message)


def _refusal(code: str, reason: str) -> RecordDict:
    texts: dict[str, ConfigRecordValues] = {wire.REFUSAL_CODE: code, wire.REFUSAL_REASON: reason}
    return RecordDict({wire.TEXTS: ConfigRecord(texts)})


def _round(message: Message, agent: AgentPort) -> RecordDict:
    reply = agent.release(
        RoundRequest(
            task=_text(message, wire.TASK),
            manifest=_text(message, wire.MANIFEST),
            arrays=_arrays(message),
            release=_text(message, wire.RELEASE),
        )
    )
    return RecordDict(
        {
            wire.TEXTS: ConfigRecord({wire.ATTESTATION: reply.attestation}),
            wire.ARRAYS: ArrayRecord({wire.SUM: Array(reply.total)}),
        }
    )


def _hello(agent: AgentPort) -> RecordDict:
    hello = agent.hello()
    return RecordDict({wire.TEXTS: ConfigRecord({wire.BRAND: hello.brand, wire.KEY: hello.key})})


def _setup(message: Message, agent: AgentPort) -> RecordDict:
    request = SetupRequest(task=_text(message, wire.TASK), setup=_text(message, wire.SETUP))
    return _texts(wire.ADVERTISEMENT, agent.setup(request))


def _share(message: Message, agent: AgentPort) -> RecordDict:
    request = ShareRequest(setup=_text(message, wire.SETUP), advertisements=_text(message, wire.ADVERTISEMENTS))
    return _texts(wire.SHARES, agent.share(request))


def _keep(message: Message, agent: AgentPort) -> RecordDict:
    agent.keep(KeepRequest(setup=_text(message, wire.SETUP), shares=_text(message, wire.SHARES)))
    return RecordDict()


def _open(message: Message, agent: AgentPort) -> RecordDict:
    request = OpenRequest(setup=_text(message, wire.SETUP), closing=_text(message, wire.CLOSING))
    return _texts(wire.UNMASKING, agent.open(request))


def _install(message: Message, agent: AgentPort) -> RecordDict:
    agent.install(
        ModelDelivery(
            task=_text(message, wire.TASK), release=_text(message, wire.RELEASE), arrays=_arrays(message)
        )
    )
    return RecordDict()


def _texts(field: str, text: str) -> RecordDict:
    return RecordDict({wire.TEXTS: ConfigRecord({field: text})})


def _text(message: Message, field: str) -> str:
    record = message.content.config_records.get(wire.TEXTS, ConfigRecord())
    return str(record.get(field, ""))


def _arrays(message: Message) -> Arrays:
    record = message.content.array_records.get(wire.ARRAYS, ArrayRecord())
    return {name: array.numpy() for name, array in record.items()}
