"""Errors as answers: `{"error": code, "detail": sentence}`, without a word of what was sent."""

import re

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from consent import errors
from consent.errors import ConsentError

STATUS: tuple[tuple[type[ConsentError], int], ...] = (
    (errors.TooLargeError, 413),
    (errors.InvalidRequestError, 422),
    (errors.UnauthenticatedError, 401),
    (errors.ForbiddenError, 403),
    (errors.SignatureError, 403),
    (errors.NotFoundError, 404),
    (errors.ConflictError, 409),
    (errors.LogConflictError, 409),
)
FIELD = re.compile(r"[a-z_]{1,32}")
MAX_PLACES = 5


def answer(error: ConsentError) -> Response:
    """Answer with an error of ours; what is not the caller's doing is a fault of the service."""
    status = next((status for kind, status in STATUS if isinstance(error, kind)), 500)
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None  # noqa: PLR2004
    return JSONResponse({"error": error.code, "detail": str(error)}, status_code=status, headers=headers)


def fault() -> Response:
    """Answer when the service itself failed."""
    problem = errors.UnavailableError("The consent service failed and did nothing; repeat the request later.")
    return JSONResponse({"error": problem.code, "detail": str(problem)}, status_code=500)


def on_consent_error(_request: Request, error: Exception) -> Response:
    """Translate an error of ours."""
    return answer(error) if isinstance(error, ConsentError) else fault()


def on_validation_error(_request: Request, error: Exception) -> Response:
    """Name the places that do not follow the contract, never their content."""
    found = error.errors() if isinstance(error, RequestValidationError) else []
    places = [f"{_place(item['loc'], item['type'])} ({item['type']})" for item in found[:MAX_PLACES]]
    return answer(errors.InvalidRequestError(f"The request does not follow the contract: {', '.join(places)}."))


def on_http_error(_request: Request, error: Exception) -> Response:
    """Translate the framework's own refusals: no such route, or not by this method."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    code = "not_found" if status == 404 else "invalid_request"  # noqa: PLR2004
    return JSONResponse(
        {"error": code, "detail": "There is no such resource, or not by this method."}, status_code=status
    )


def _place(location: tuple[int | str, ...], kind: str) -> str:
    known = location[:-1] if kind == "extra_forbidden" else location
    return ".".join(str(part) for part in known if isinstance(part, int) or FIELD.fullmatch(part))
