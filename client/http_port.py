"""The agent over its local address, as the Flower relay reaches it."""

from typing import Self

import httpx

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
)
from client.wire import (
    HelloAnswer,
    KeepBody,
    ModelBody,
    OpenBody,
    RefusalAnswer,
    RoundAnswer,
    RoundBody,
    SetupBody,
    ShareBody,
    TextAnswer,
    encode,
)
from consent.contract import ContractModel
from consent.peer import Peer

TIMEOUT_SECONDS = 600.0
"""An agent may train for minutes before it answers."""


class AgentUnreachableError(RefusalError):
    """The agent does not answer, so nothing of the brand takes part."""

    code = "agent_unreachable"


class RemoteRefusalError(RefusalError):
    """The agent refused; `code` is its own."""

    def __init__(self, answer: RefusalAnswer) -> None:
        super().__init__(answer.detail)
        self.code = answer.error


class AgentOverHttp:
    """An `AgentPort` that speaks to `confide agent serve`; a context manager that owns its connection.

    Args:
        base_url: the agent's address, on this machine.
        token: what the agent expects of its relay.
    """

    def __init__(self, base_url: str, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._http = httpx.Client(base_url=base_url, headers=headers, timeout=TIMEOUT_SECONDS, trust_env=False)
        self._peer = Peer(self._http, "brand agent", AgentUnreachableError)

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def __enter__(self) -> Self:
        """Return the port itself."""
        return self

    def __exit__(self, *_exc: object) -> None:
        """Close the connection."""
        self.close()

    def hello(self) -> Hello:
        """Say which brand this is."""
        answer = self._peer.read(HelloAnswer, self._call("GET", "/v1/hello", None))
        return Hello(brand=answer.brand, key=answer.key)

    def setup(self, request: SetupRequest) -> str:
        """Join a run of trust mode `distributed`, or refuse."""
        return self._ask("/v1/runs/setup", SetupBody(task=request.task, setup=request.setup))

    def share(self, request: ShareRequest) -> str:
        """Return this brand's sealed shares for every brand of a run, or refuse."""
        body = ShareBody(setup=request.setup, advertisements=request.advertisements)
        return self._ask("/v1/runs/share", body)

    def keep(self, request: KeepRequest) -> None:
        """Keep every brand's shares for this one, or refuse."""
        body = KeepBody(setup=request.setup, shares=request.shares)
        self._call("POST", "/v1/runs/keep", body.model_dump_json())

    def open(self, request: OpenRequest) -> str:
        """Help to open a round's sum, or refuse."""
        return self._ask("/v1/runs/open", OpenBody(setup=request.setup, closing=request.closing))

    def release(self, request: RoundRequest) -> RoundReply:
        """Take part in a round, or refuse."""
        body = RoundBody(
            task=request.task,
            manifest=request.manifest,
            arrays=encode(request.arrays),
            release=request.release,
        )
        answer = self._peer.read(RoundAnswer, self._call("POST", "/v1/rounds", body.model_dump_json()))
        return RoundReply(attestation=answer.attestation, total=answer.total.decode_total())

    def install(self, delivery: ModelDelivery) -> None:
        """Keep a finished model for decisions, or refuse it."""
        body = ModelBody(task=delivery.task, release=delivery.release, arrays=encode(delivery.arrays))
        self._call("POST", "/v1/models", body.model_dump_json())

    def _ask(self, path: str, body: ContractModel) -> str:
        return self._peer.read(TextAnswer, self._call("POST", path, body.model_dump_json())).text

    def _call(self, method: str, path: str, content: str | None) -> bytes:
        response = self._peer.send(self._http.build_request(method, path, content=content))
        if response.is_success:
            return response.content
        raise RemoteRefusalError(self._peer.read(RefusalAnswer, response.content))
