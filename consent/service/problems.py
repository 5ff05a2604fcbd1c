"""Errors as answers: problem details (RFC 9457), without a word of what was sent."""

import re
from collections.abc import Mapping
from typing import Any

from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from consent import errors
from consent.errors import ConsentError
from consent.problem import MEDIA_TYPE, Problem

STATUS: tuple[tuple[type[ConsentError], int], ...] = (
    (errors.TooLargeError, 413),
    (errors.UnsupportedMediaError, 415),
    (errors.InvalidRequestError, 422),
    (errors.UnauthenticatedError, 401),
    (errors.ForbiddenError, 403),
    (errors.SignatureError, 403),
    (errors.NotFoundError, 404),
    (errors.ConflictError, 409),
    (errors.LogConflictError, 409),
    (errors.RateLimitedError, 429),
    (errors.UnavailableError, 503),
)
OUTAGES = (OperationalError, InterfaceError, PoolTimeoutError)
"""What SQLAlchemy raises where a database is away, locked, full or read-only."""
RETRY_SECONDS = 1
FIELD = re.compile(r"[a-z_]{1,32}")
JSON_TYPE = re.compile(r"application/([a-z0-9.-]+\+)?json", re.IGNORECASE)
MAX_PLACES = 5


def answer(error: ConsentError) -> Response:
    """Answer with an error of ours; what is not the caller's doing is a fault of the service."""
    status = next((status for kind, status in STATUS if isinstance(error, kind)), 500)
    headers = {}
    if isinstance(error, errors.UnauthenticatedError):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, errors.UnavailableError | errors.RateLimitedError):
        headers["Retry-After"] = str(getattr(error, "retry_after", RETRY_SECONDS))
    return _problem(error.code, str(error), status, headers)


def fault() -> Response:
    """Answer when the service itself failed."""
    error = errors.UnavailableError("The consent service failed and did nothing; repeat the request later.")
    return _problem(error.code, str(error), 500)


def outage() -> Response:
    """Answer when the database does not do what it is asked."""
    return answer(
        errors.UnavailableError(
            "The database does not answer; repeat the request later, with the same idempotency key if it has one."
        )
    )


def on_consent_error(_request: Request, error: Exception) -> Response:
    """Translate an error of ours."""
    return answer(error) if isinstance(error, ConsentError) else fault()


def on_unstorable_value(_request: Request, _error: Exception) -> Response:
    """Refuse what the contract lets through and a database does not take: PostgreSQL, U+0000 in a text."""
    return answer(errors.InvalidRequestError("A value can not be stored; send text without U+0000."))


def on_validation_error(request: Request, error: Exception) -> Response:
    """Name the places that do not follow the contract, never their content."""
    if not_json(request):
        return answer(errors.UnsupportedMediaError("Send the body as `Content-Type: application/json`."))
    found = error.errors() if isinstance(error, RequestValidationError) else []
    places = [f"{_place(item['loc'], item['type'])} ({item['type']})" for item in found[:MAX_PLACES]]
    return answer(errors.InvalidRequestError(f"The request does not follow the contract: {', '.join(places)}."))


def on_http_error(_request: Request, error: Exception) -> Response:
    """Translate the framework's own refusals: no such route, not by this method, or a body that is no text."""
    if not isinstance(error, HTTPException):
        return fault()
    if error.status_code == 400:  # noqa: PLR2004
        return answer(errors.InvalidRequestError("The body is not JSON in UTF-8, or is nested too deeply."))
    if error.status_code == 405:  # noqa: PLR2004
        detail = "This resource is not used by this method; the Allow header names those that it takes."
        return _problem("method_not_allowed", detail, 405, error.headers)
    return _problem("not_found", "There is no such resource.", error.status_code)


def _problem(code: str, detail: str, status: int, headers: Mapping[str, str] | None = None) -> Response:
    content: dict[str, Any] = Problem.of(code, detail, status).model_dump()
    return JSONResponse(content, status_code=status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def not_json(request: Request) -> bool:
    """Tell whether a route that takes JSON was sent something that says it is not."""
    route = request.scope.get("route")
    takes_json = isinstance(route, APIRoute) and route.body_field is not None
    sent = int(request.headers.get("content-length", "1")) > 0
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    return takes_json and sent and JSON_TYPE.fullmatch(kind) is None


def _place(location: tuple[int | str, ...], kind: str) -> str:
    known = location[:-1] if kind == "extra_forbidden" else location
    return ".".join(str(part) for part in known if isinstance(part, int) or FIELD.fullmatch(part))
