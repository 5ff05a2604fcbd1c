"""Examples of values, made from their JSON schemas: the same for the same schema, and of nobody who exists."""

from collections.abc import Mapping
from typing import Any

Schema = Mapping[str, Any]
BY_PATTERN = {
    r"^[0-9a-f]{64}$": "0f" * 32,
    r"^[0-9a-f]{32}$": "0f" * 16,
    r"^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$": "acme",
    r"^[a-z]{2}(-[A-Z]{2})?$": "en",
    r"^[A-Z]{2}$": "DE",
    r"^[A-Z]{2,3}(-[A-Z0-9]{1,3})?$": "DE",
    r"^[a-z][a-z_]{0,62}$": "choice_recorded",
    r"^[a-z]{3,6}:[a-z0-9/.-]{1,60}$": "post:choices",
    r"^[!-~]{1,128}$": "order-1",
    r"^[A-Za-z0-9_=-]{1,64}$": "Y3Vyc29y",
    r"^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$": "A" * 43 + "=",
    r"^[A-Za-z0-9+/]{85}[AQgw]==$": "A" * 86 + "==",
    r"^[^\s@<>\"]+@[^\s@<>\"]+$": "privacy@brand.example",
    r"^https://[!-~]+$": "https://brand.example/told",
    r"^https://[^\s\"<>\\^`{|}]+$": "https://brand.example/privacy",
}
"""By the patterns of the contract's own types; others get a word."""
BY_FORMAT = {
    "date-time": "2026-11-02T09:00:00Z",
    "date": "2026-11-02",
    "binary": "",
    "uri": "https://brand.example/",
}
DEPTH = 40
"""Schemas within schemas; nothing that is described here is nested deeper."""


def example_of(schema: Schema, schemas: Mapping[str, Schema], depth: int = DEPTH) -> Any:  # noqa: ANN401 - any JSON
    """Return a value that a schema allows.

    Args:
        schema: what to make a value of.
        schemas: the named schemas that it may refer to.
        depth: how many more schemas may lie within it.

    Raises:
        ValueError: the schema is nested too deeply.
    """
    if depth == 0:
        raise ValueError("The schema is nested too deeply for an example.")
    for name in ("example", "const", "default"):
        if schema.get(name) is not None:
            return schema[name]
    if "$ref" in schema:
        return example_of(schemas[schema["$ref"].rpartition("/")[2]], schemas, depth - 1)
    if "enum" in schema:
        return schema["enum"][0]
    for name in ("anyOf", "oneOf", "allOf"):
        if name in schema:
            return example_of(schema[name][0], schemas, depth - 1)
    return _of_type(schema, schemas, depth)


def _of_type(schema: Schema, schemas: Mapping[str, Schema], depth: int) -> Any:  # noqa: ANN401 - any JSON
    match schema.get("type"):
        case "object":
            properties, required = schema.get("properties", {}), schema.get("required", ())
            return {name: example_of(properties[name], schemas, depth - 1) for name in required}
        case "array":
            items = schema.get("prefixItems") or [schema["items"]] * max(schema.get("minItems", 1), 1)
            return [example_of(one, schemas, depth - 1) for one in items]
        case "string":
            return _text(schema)
        case "integer" | "number" as kind:
            return _number(schema, whole=kind == "integer")
    return False if schema.get("type") == "boolean" else None


def _text(schema: Schema) -> str:
    if "pattern" in schema:
        return BY_PATTERN.get(schema["pattern"], "example")
    if "format" in schema:
        return BY_FORMAT.get(schema["format"], "example")
    return "example" + "." * max(int(schema.get("minLength", 0)) - len("example"), 0)


def _number(schema: Schema, *, whole: bool) -> float:
    """Return the least whole number that is allowed, or what lies between the bounds."""
    low = schema.get("minimum", schema.get("exclusiveMinimum", 0))
    if whole:
        return int(low) + ("exclusiveMinimum" in schema)
    high = schema.get("maximum", schema.get("exclusiveMaximum", low + 2))
    return float((low + high) / 2)
