"""The witness over HTTP: add-checkpoint for logs, the last cosigned head for monitors (C2SP tlog-witness)."""

import hashlib
import time
from collections.abc import Callable

from fastapi import FastAPI, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from consent.errors import (
    ConflictError,
    ConsentError,
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
    ProofError,
    SetupError,
    StaleSizeError,
)
from consent.witness.judgement import Judge, Submission
from consent.witness.settings import WitnessSettings
from consent.witness.setup import STATE, read_key, read_logs
from consent.witness.store import WitnessStore

SIZE_TYPE = "text/x.tlog.size"
STATUSES: tuple[tuple[type[ConsentError], int], ...] = (
    (InvalidRequestError, 400),
    (ForbiddenError, 403),
    (NotFoundError, 404),
    (ConflictError, 409),
    (ProofError, 422),
)


def posix_now() -> int:
    """Return the machine's time in whole seconds since the epoch."""
    return int(time.time())


def create_app(settings: WitnessSettings, *, now: Callable[[], int] = posix_now) -> FastAPI:
    """Build the service over what `initialise` created.

    Raises:
        SetupError: it was not initialised, or knows no log.
    """
    logs = read_logs(settings)
    if not logs:
        raise SetupError("The witness knows no log; put verifier keys into `logs` of its settings.")
    store = WitnessStore(settings.data_dir / STATE)
    judge = Judge(name=settings.name, key=read_key(settings.data_dir), logs=logs, store=store, now=now)
    app = FastAPI(title="Confide witness", docs_url=None, redoc_url=None, openapi_url=None)
    monitored = {hashlib.sha256(origin.encode()).hexdigest(): origin for origin in logs}

    @app.post("/add-checkpoint")
    async def add_checkpoint(request: Request) -> Response:
        try:
            body = await _read_body(request, settings.max_body_bytes)
            line = await run_in_threadpool(judge.cosign, Submission.parse(body))
        except ConsentError as error:
            return _refusal(error)
        return _text(line)

    @app.get("/{origin_hash}/checkpoint")
    def checkpoint(origin_hash: str) -> Response:
        note = store.note(monitored[origin_hash]) if origin_hash in monitored else None
        return _text("no head of that log was cosigned\n", 404) if note is None else _text(note)

    return app


async def _read_body(request: Request, limit: int) -> str:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise InvalidRequestError(f"The request is over {limit} bytes.")
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise InvalidRequestError("The request is not UTF-8 text.") from None


def _refusal(error: ConsentError) -> Response:
    if isinstance(error, StaleSizeError):
        return Response(f"{error.size}\n", 409, media_type=SIZE_TYPE)
    status = next((status for kind, status in STATUSES if isinstance(error, kind)), 500)
    return _text(f"{error}\n", status)


def _text(content: str, status: int = 200) -> Response:
    return Response(content, status, media_type="text/plain; charset=utf-8")
