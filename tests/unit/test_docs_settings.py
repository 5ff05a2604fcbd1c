"""What the documents say of the consent service's settings, limits and scopes is what the program has."""

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import to_jsonable_python

import confide
from consent.service import limits
from consent.service.access import scopes_of
from consent.settings import ConsentSettings
from consent.wire import Role

DOCS = Path(confide.__file__).parent / "docs"
PAGE = DOCS / "run-the-consent-service.md"
ROW = re.compile(r"^\| `(\w+)` \| (none|`[^`]*`) \|", re.MULTILINE)
SCOPE = re.compile(r"`((?:get|post|put|delete):[a-z/-]+)`")
TOML = re.compile(r"^```toml\n(.*?)^```", re.MULTILINE | re.DOTALL)


def section(title: str) -> str:
    """Return what stands under a heading of the page."""
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def told(default: Any) -> str:
    """Write a default as the table does."""
    if default in (None, ()):
        return "none"
    value = to_jsonable_python(default)
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def test_every_setting_is_in_the_table_with_its_default() -> None:
    fields = ConsentSettings.model_fields
    assert dict(ROW.findall(section("Settings"))) == {name: told(field.default) for name, field in fields.items()}


def shown_tables() -> Iterator[tuple[str, dict[str, Any]]]:
    for document in sorted(DOCS.glob("**/*.md")):
        for block in TOML.findall(document.read_text()):
            table = tomllib.loads(block).get("consent")
            if table is not None:
                yield document.name, table


TABLES = list(shown_tables())


@pytest.mark.parametrize("table", [table for _, table in TABLES], ids=[name for name, _ in TABLES])
def test_shown_settings_can_be_used(table: dict[str, Any]) -> None:
    ConsentSettings(**table)


def test_every_limit_is_in_the_table() -> None:
    rows = re.findall(r"\| ([\d.]+) \| (\d+) \|$", section("Limits"), re.MULTILINE)
    known = [
        limits.REQUESTS,
        limits.CAREFUL,
        limits.WORK["decisions"],
        limits.WORK["choices"],
        limits.ABOUT_SUBJECT,
        limits.SUBJECT,
        limits.PEER,
        limits.WRONG_TOKENS,
    ]
    assert [(float(rate), float(burst)) for rate, burst in rows] == known


def test_shown_scopes_are_scopes_of_the_roles_beside_them(consent_world: Any) -> None:
    rows = [line.split(" | ") for line in section("Programs: API keys").splitlines() if SCOPE.search(line)]
    programs = [(roles, SCOPE.findall(scopes)) for _, roles, scopes in (row for row in rows if len(row) == 3)]
    assert len(programs) > 5
    for roles, scopes in programs:
        for role in roles.split(", "):
            held = scopes_of(consent_world.app.routes, Role(role.replace(" ", "_")))
            assert held.issuperset(scopes), (role, set(scopes) - held)
