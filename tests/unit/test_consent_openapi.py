"""The description of the API is complete: roles, statuses, the problem's schema, and examples that are valid."""

import json
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
from fastapi.routing import APIRoute

from consent.problem import MEDIA_TYPE
from consent.service.access import roles_of
from consent.service.openapi import describe
from consent.service.routes import ROUTERS

ROUTES = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
DOCUMENT = describe("Confide", ROUTES)
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}


def media() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, operation in OPERATIONS.items():
        contents = {"request": operation.get("requestBody", {}), **operation["responses"]}
        for part, content in contents.items():
            for kind, found in content.get("content", {}).items():
                yield f"{name} {part} {kind}", found


MEDIA = dict(media())
JSON = {name: found for name, found in MEDIA.items() if name.endswith("json") and not name.endswith("x-ndjson")}


def test_every_route_is_described_with_its_roles() -> None:
    assert len(OPERATIONS) == len(ROUTES)
    for route in ROUTES:
        (method,) = route.methods
        operation = OPERATIONS[f"{method} {route.path_format}"]
        assert operation["x-roles"] == sorted(roles_of(route))
        assert operation["security"] == ([{"token": []}] if roles_of(route) else [])
    assert DOCUMENT["components"]["securitySchemes"] == {"token": {"type": "http", "scheme": "bearer"}}


def test_every_refusal_is_a_problem() -> None:
    for name, operation in OPERATIONS.items():
        for status, response in operation["responses"].items():
            if status[0] in "45" and name != "GET /readyz":
                assert list(response["content"]) == [MEDIA_TYPE], (name, status)
        guarded = {"401", "403"} if operation["x-roles"] else set()
        with_body = {"413", "415"} if "requestBody" in operation else set()
        assert operation["responses"].keys() >= guarded | with_body | {"404", "409", "422", "429", "500", "503"}


def test_every_body_has_an_example_that_its_schema_allows() -> None:
    wrong = {name: [str(error) for error in _errors(found)] for name, found in JSON.items()}
    assert {name: errors for name, errors in wrong.items() if errors} == {}


def _errors(found: dict[str, Any]) -> Iterator[Exception]:
    schema = {**found["schema"], "components": DOCUMENT["components"]}
    return jsonschema_rs.Draft202012Validator(schema, validate_formats=True).iter_errors(found["example"])


def test_every_answer_says_what_it_is() -> None:
    assert [name for name, found in MEDIA.items() if not found.get("schema")] == []


def test_the_description_is_served_and_no_page_with_it(consent_world: Any) -> None:
    response = consent_world.http.get("/openapi.json")
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
    served = response.json()
    assert json.dumps(served["paths"]) == json.dumps(DOCUMENT["paths"])
    assert "HTTPValidationError" not in response.text
    for path in ("/docs", "/redoc"):
        assert consent_world.http.get(path).status_code == 404
