"""Schemathesis over the whole description, as every role: no fault, no status or content that is not described."""

import warnings
from collections.abc import Callable
from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from consent.wire import Role

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
STREAMS = r"^/v1/events$"
"""Open for a minute each; `test_event_stream` reads them."""
QUICK, THOROUGH = 3, 10
"""Examples of one operation, as its own role."""


def clients(world: Any) -> dict[Role | None, str | None]:
    """A token of each role, and none."""
    world.brand("acme")
    for role in (Role.OFFICER, Role.COORDINATOR, Role.AUDITOR):
        world.enrol(role, f"a-{role.value}")
    world.brand_admin("acme")
    operator = (world.settings.data_dir / "operator.token").read_text().strip()
    named = {role: world.tokens[f"a-{role.value}"] for role in (Role.OFFICER, Role.COORDINATOR, Role.AUDITOR)}
    return {
        **named,
        Role.BRAND: world.tokens["acme"],
        Role.BRAND_ADMIN: world.tokens["admin-of-acme"],
        Role.OPERATOR: operator,
        None: None,
    }


def try_all(world: Any, examples: int) -> list[str]:
    """Send what schemathesis makes up; return what was found wrong."""
    schema = schemathesis.openapi.from_asgi("/openapi.json", world.app).exclude(path_regex=STREAMS)
    tokens = clients(world)
    found: list[str] = []
    for result in schema.get_all_operations():
        operation = result.ok()
        roles = operation.definition.raw["x-roles"]
        asking = [role for role in tokens if role is not None and role.value in roles] or [None]
        for role in asking[:1] if examples == QUICK else asking:
            _try_one(operation, tokens[role], examples, found)
    return found


def _try_one(operation: Any, token: str | None, examples: int, found: list[str]) -> None:
    headers = {"Authorization": f"Bearer {token}"} if token else {}

    @hypothesis.given(case=operation.as_strategy())
    @hypothesis.settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def attempt(case: Any) -> None:
        response = case.call(headers=headers)
        try:
            case.validate_response(response, checks=CHECKS)
        except Exception as error:
            found.append(f"{operation.label}: {response.status_code} {error}"[:600])

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        attempt()


def test_every_operation_keeps_to_its_description(consent_worlds: Callable[..., Any]) -> None:
    world = consent_worlds(rate_factor=1_000)
    world.declare("conversion")
    assert try_all(world, QUICK) == []


@pytest.mark.slow
def test_every_operation_keeps_to_its_description_on_both_databases(
    consent_worlds: Callable[..., Any], database_url: str
) -> None:
    world = consent_worlds(rate_factor=1_000, database_url=database_url)
    world.declare("conversion")
    assert try_all(world, THOROUGH) == []
