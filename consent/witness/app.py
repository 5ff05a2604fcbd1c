"""The witness over HTTP: add-checkpoint for logs, the last cosigned head for monitors (C2SP tlog-witness)."""

import hashlib
import time
from collections.abc import Callable

from fastapi import FastAPI, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from consent.errors import (
    BusyError,
    ConflictError,
    ConsentError,
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
    ProofError,
    RateLimitedError,
    SetupError,
    StaleSizeError,
)
from consent.witness.judgement import Judge, Submission
from consent.witness.limits import RateLimit
from consent.witness.settings import WitnessSettings
from consent.witness.setup import RATES, STATE, read_key, read_logs
from consent.witness.store import WitnessStore

SIZE_TYPE = "text/x.tlog.size"
STATUSES: tuple[tuple[type[ConsentError], int], ...] = (
    (InvalidRequestError, 400),
    (ForbiddenError, 403),
    (NotFoundError, 404),
    (ConflictError, 409),
    (ProofError, 422),
    (RateLimitedError, 429),
    (BusyError, 503),
)


def posix_now() -> int:
    """Return the machine's time in whole seconds since the epoch."""
    return int(time.time())


def create_app(settings: WitnessSettings, *, now: Callable[[], int] = posix_now) -> FastAPI:
    """Build the service over what `initialise` created.

    Raises:
        SetupError: it was not initialised, or knows no log.
        BusyError: another worker holds its state.
    """
    logs = read_logs(settings)
    if not logs:
        raise SetupError("The witness knows no log; put verifier keys into `logs` of its settings.")
    store = WitnessStore(settings.data_dir / STATE, wait=settings.lock_seconds)
    key = read_key(settings.data_dir)
    admit = _rate_limit(settings, now).admit
    judge = Judge(name=settings.name, key=key, logs=logs, store=store, admit=admit, now=now)
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
        try:
            note = store.note(monitored[origin_hash]) if origin_hash in monitored else None
        except BusyError as error:
            return _refusal(error)
        return _text("no head of that log was cosigned\n", 404) if note is None else _text(note)

    return app


def _rate_limit(settings: WitnessSettings, now: Callable[[], int]) -> RateLimit:
    return RateLimit(
        settings.data_dir / RATES,
        per_second=settings.submissions_per_second,
        burst=settings.submission_burst,
        wait=settings.lock_seconds,
        now=now,
    )


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
    answer = _text(f"{error}\n", status)
    if isinstance(error, BusyError | RateLimitedError):
        answer.headers["retry-after"] = str(error.retry_after)
    return answer


def _text(content: str, status: int = 200) -> Response:
    return Response(content, status, media_type="text/plain; charset=utf-8")
