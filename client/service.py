"""The agent as a local service: a few routes for the relay, behind one token, and nothing else."""

import hmac
from collections.abc import Sequence
from typing import Annotated

from fastapi import Depends, FastAPI, Header, Request, params
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from client.errors import RefusalError
from client.port import (
    AgentPort,
    KeepRequest,
    ModelDelivery,
    OpenRequest,
    RoundRequest,
    SetupRequest,
    ShareRequest,
)
from client.wire import (
    EncodedArray,
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
    decode,
)


class _UnknownRelayError(Exception):
    """The caller did not bring the relay's token."""


def create_app(agent: AgentPort, *, relay_token: str) -> FastAPI:
    """Return the agent's application.

    Args:
        agent: the agent.
        relay_token: what callers must bring as a bearer token.
    """
    app = FastAPI(title="Confide brand agent", docs_url=None, redoc_url=None, openapi_url=None)

    def only_relay(authorization: Annotated[str, Header()] = "") -> None:
        if not hmac.compare_digest(authorization.encode(), f"Bearer {relay_token}".encode()):
            raise _UnknownRelayError

    relay = [Depends(only_relay)]

    @app.get("/v1/hello", dependencies=relay)
    def hello() -> HelloAnswer:
        known = agent.hello()
        return HelloAnswer(brand=known.brand, key=known.key)

    @app.post("/v1/rounds", dependencies=relay)
    def rounds(body: RoundBody) -> RoundAnswer:
        reply = agent.release(
            RoundRequest(task=body.task, manifest=body.manifest, arrays=decode(body.arrays), release=body.release)
        )
        return RoundAnswer(attestation=reply.attestation, total=EncodedArray.of(reply.total))

    @app.post("/v1/models", status_code=204, dependencies=relay)
    def models(body: ModelBody) -> None:
        agent.install(ModelDelivery(task=body.task, release=body.release, arrays=decode(body.arrays)))

    _add_run_routes(app, agent, relay)
    _add_refusals(app)
    return app


def _add_run_routes(app: FastAPI, agent: AgentPort, relay: Sequence[params.Depends]) -> None:
    """Add what a run of trust mode `distributed` is set up and opened by."""

    @app.post("/v1/runs/setup", dependencies=relay)
    def setup(body: SetupBody) -> TextAnswer:
        return TextAnswer(text=agent.setup(SetupRequest(task=body.task, setup=body.setup)))

    @app.post("/v1/runs/share", dependencies=relay)
    def share(body: ShareBody) -> TextAnswer:
        return TextAnswer(text=agent.share(ShareRequest(body.setup, body.advertisements)))

    @app.post("/v1/runs/keep", status_code=204, dependencies=relay)
    def keep(body: KeepBody) -> None:
        agent.keep(KeepRequest(setup=body.setup, shares=body.shares))

    @app.post("/v1/runs/open", dependencies=relay)
    def open_sum(body: OpenBody) -> TextAnswer:
        return TextAnswer(text=agent.open(OpenRequest(setup=body.setup, closing=body.closing)))


def _add_refusals(app: FastAPI) -> None:
    app.add_exception_handler(RefusalError, _refused)
    app.add_exception_handler(_UnknownRelayError, _unknown_relay)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(ValueError, _malformed)


def _refused(_request: Request, error: Exception) -> JSONResponse:
    code = error.code if isinstance(error, RefusalError) else RefusalError.code
    return _answer(409, code, str(error))


def _unknown_relay(_request: Request, _error: Exception) -> JSONResponse:
    return _answer(401, "unauthenticated", "Bring the relay's token; it lies in the agent's folder.")


def _malformed(_request: Request, _error: Exception) -> JSONResponse:
    return _answer(422, "malformed", "The request is not in the agent's form; check both sides' versions.")


def _answer(status: int, code: str, detail: str) -> JSONResponse:
    return JSONResponse(RefusalAnswer(error=code, detail=detail).model_dump(), status_code=status)
