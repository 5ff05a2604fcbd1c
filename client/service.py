"""The agent as a local service: three routes for the relay, behind one token, and nothing else."""

import hmac
from typing import Annotated

from fastapi import Depends, FastAPI, Header, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from client.errors import RefusalError
from client.port import AgentPort, ModelDelivery, RoundRequest
from client.wire import EncodedArray, HelloAnswer, ModelBody, RefusalAnswer, RoundAnswer, RoundBody, decode


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
        reply = agent.release(RoundRequest(task=body.task, manifest=body.manifest, arrays=decode(body.arrays)))
        return RoundAnswer(attestation=reply.attestation, total=EncodedArray.of(reply.total))

    @app.post("/v1/models", status_code=204, dependencies=relay)
    def models(body: ModelBody) -> None:
        agent.install(ModelDelivery(task=body.task, release=body.release, arrays=decode(body.arrays)))

    app.add_exception_handler(RefusalError, _refused)
    app.add_exception_handler(_UnknownRelayError, _unknown_relay)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(ValueError, _malformed)
    return app


def _refused(_request: Request, error: Exception) -> JSONResponse:
    code = error.code if isinstance(error, RefusalError) else RefusalError.code
    return _answer(409, code, str(error))


def _unknown_relay(_request: Request, _error: Exception) -> JSONResponse:
    return _answer(401, "unauthenticated", "Bring the relay's token; it lies in the agent's folder.")


def _malformed(_request: Request, _error: Exception) -> JSONResponse:
    return _answer(422, "malformed", "The request is not in the agent's form; check both sides' versions.")


def _answer(status: int, code: str, detail: str) -> JSONResponse:
    return JSONResponse(RefusalAnswer(error=code, detail=detail).model_dump(), status_code=status)
