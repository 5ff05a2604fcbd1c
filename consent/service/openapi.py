"""The description of the API (OpenAPI 3.1): who may ask, every status that may be answered, and examples.

What FastAPI reads from the routes is completed by rules over all of them, so that a route that is added later is
described like the others.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from consent.problem import MEDIA_TYPE, Problem
from consent.service.access import roles_of
from consent.service.examples import example_of
from consent.service.idempotency import REPLAYED

Document = dict[str, Any]
SCHEME = "token"
PROBLEM = "Problem"
VERSION = "1"
ALWAYS = {
    404: "There is no such thing, or it is not the caller's.",
    409: "It contradicts what is there already.",
    422: "The request does not follow the contract.",
    429: "Too many requests; `Retry-After` says when to come back.",
    500: "The service failed.",
    503: "The service, or its database, is not available; `Retry-After` says when to come back.",
}
GUARDED = {401: "There is no token, or one that is not known.", 403: "The caller's role does not include this."}
TEXT, BYTES = {"type": "string"}, {"type": "string", "format": "binary"}
ANSWERS: Mapping[str, Mapping[str, Any]] = {
    "/healthz": {"text/plain": TEXT},
    "/metrics": {"text/plain": TEXT},
    "/v1/events": {"text/event-stream": TEXT},
    "/v1/imports": {"application/x-ndjson": TEXT},
    "/v1/log/proofs/{index}": {"text/plain": TEXT},
    "/v1/log/{path}": {"text/plain": TEXT, "application/octet-stream": BYTES},
    "/v1/receipts": {"application/ld+json": {"type": "object"}},
    "/v1/signals/confirmation": {"application/json": {"type": "object"}, "text/html": TEXT},
    "/v1/subjects/access/page": {"text/html": TEXT},
    "/.well-known/gpc.json": {"application/json": {"type": "object"}},
}
"""What is answered by the routes that answer with something else than a model as JSON."""
FILES = {"/v1/imports": ("application/x-ndjson", "text/csv")}
"""Routes that read something else than a model as JSON."""
POLLED = frozenset(
    {
        "/v1/brands/{brand}/budgets",
        "/v1/brands/{brand}/coverage",
        "/v1/models/withdrawn",
        "/v1/notices",
        "/v1/notices/{digest}",
        "/v1/purposes",
        "/v1/snapshots/current",
        "/v1/snapshots/current/head",
    }
)
"""Routes that answer with entity tags."""
UNCHANGED = {"description": "The answer is the one that `If-None-Match` names."}
KEY = "idempotency-key"
REPEATED = {
    "description": "Whether this is the answer of an earlier request with this key; left out where it is not.",
    "schema": {"type": "string", "enum": ["true"]},
}
TAG = {"name": "If-None-Match", "in": "header", "required": False, "schema": {"type": "string"}}
WITH_BODY = {413: "The body is too large.", 415: "The body is of a type that is not read."}


def describe(title: str, routes: Sequence[BaseRoute]) -> Document:
    """Return the description of these routes."""
    document: Document = get_openapi(title=title, version=VERSION, routes=routes)
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas[PROBLEM] = Problem.model_json_schema()
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    components["securitySchemes"] = {SCHEME: {"type": "http", "scheme": "bearer"}}
    for route in routes:
        if isinstance(route, APIRoute) and route.include_in_schema:
            for method in route.methods or ():
                _complete(route, document["paths"][route.path_format][method.lower()], schemas)
    return document


def _complete(route: APIRoute, operation: Document, schemas: Mapping[str, Any]) -> None:
    """Add who may ask, what may be refused and why, and examples."""
    roles = sorted(roles_of(route))
    operation["security"] = [{SCHEME: []}] if roles else []
    operation["x-roles"] = roles
    responses = operation["responses"]
    responses.pop("422", None)
    _answers(route, operation)
    refusals = ALWAYS | (GUARDED if roles else {}) | (WITH_BODY if "requestBody" in operation else {})
    for status, description in sorted(refusals.items()):
        responses.setdefault(str(status), _problem(status, description))
    for content in [operation.get("requestBody", {}), *responses.values()]:
        for kind, media in content.get("content", {}).items():
            if kind.endswith("json") and "example" not in media and media.get("schema"):
                media["example"] = example_of(media["schema"], schemas)


def takes_key(operation: Document) -> bool:
    """Tell whether a described operation has one effect for each idempotency key."""
    return any(one["name"].lower() == KEY for one in operation.get("parameters", ()))


def _answers(route: APIRoute, operation: Document) -> None:
    """Tell what is answered, and read, where that is no model as JSON, or where it is polled."""
    if route.path_format in ANSWERS:
        kinds = ANSWERS[route.path_format].items()
        operation["responses"]["200"]["content"] = {kind: {"schema": schema} for kind, schema in kinds}
    if route.path_format in FILES:
        content = {kind: {"schema": BYTES} for kind in FILES[route.path_format]}
        operation["requestBody"] = {"required": True, "content": content}
    if route.path_format in POLLED and route.methods == {"GET"}:
        operation["responses"]["304"] = UNCHANGED
        operation.setdefault("parameters", []).append(TAG)
    if takes_key(operation) and route.path_format not in FILES:
        for status, response in operation["responses"].items():
            if status.startswith("2"):
                response["headers"] = dict.fromkeys(REPLAYED, REPEATED)


def _problem(status: int, description: str) -> Document:
    code = {404: "not_found", 409: "conflict", 401: "unauthenticated"}.get(status, "invalid_request")
    schema = {"$ref": f"#/components/schemas/{PROBLEM}"}
    example = Problem.of(code, description, status).model_dump()
    return {"description": description, "content": {MEDIA_TYPE: {"schema": schema, "example": example}}}
