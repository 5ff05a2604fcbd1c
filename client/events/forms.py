"""The file forms of the five sources, as SQL that turns their records into one normalized shape."""

from collections.abc import Sequence
from dataclasses import dataclass

from client.events.event import (
    CUSTOMER_UPDATED,
    EMAIL_CLICKED,
    EMAIL_OPENED,
    EMAIL_SENT,
    ORDER_COMPLETED,
    Source,
)


@dataclass(frozen=True, slots=True)
class Form:
    """What a source's records must look like, and how each normalized column is read from them.

    The expressions are SQL over the record's declared fields, all text (null where absent).
    """

    fields: tuple[str, ...]
    required: tuple[str, ...]
    message_id: str
    kind: str
    name: str
    anonymous_id: str
    user_id: str
    previous_id: str
    at: str
    value: str
    value_required: str
    properties: str | None = None
    """An expression for the properties; without one they are all fields and extra columns but the ids."""


_SEGMENT = Form(
    fields=(
        "type",
        "messageId",
        "anonymousId",
        "userId",
        "previousId",
        "timestamp",
        "event",
        "name",
        "properties",
        "traits",
    ),
    required=("type", "messageId", "timestamp"),
    message_id='"messageId"',
    kind='lower("type")',
    name="""CASE lower("type") WHEN 'track' THEN "event" WHEN 'page' THEN coalesce("name", 'Page')
            WHEN 'screen' THEN coalesce("name", 'Screen') ELSE upper("type"[1]) || lower("type"[2:]) END""",
    anonymous_id='"anonymousId"',
    user_id='"userId"',
    previous_id='"previousId"',
    at='"timestamp"',
    value="""coalesce("properties"->>'revenue', "properties"->>'total', "properties"->>'value')""",
    value_required=f"\"event\" = '{ORDER_COMPLETED}'",
    properties="""CASE WHEN lower("type") IN ('identify', 'group') THEN "traits" ELSE "properties" END""",
)

_CRM = Form(
    fields=("customer_id", "updated_at", "created_at", "tier", "region"),
    required=("customer_id", "updated_at"),
    message_id="customer_id || '@' || updated_at",
    kind="'identify'",
    name=f"'{CUSTOMER_UPDATED}'",
    anonymous_id="NULL",
    user_id="customer_id",
    previous_id="NULL",
    at="updated_at",
    value="NULL",
    value_required="false",
)

_POS = Form(
    fields=("receipt_id", "customer_id", "purchased_at", "total", "discount", "store"),
    required=("receipt_id", "customer_id", "purchased_at", "total"),
    message_id="receipt_id",
    kind="'track'",
    name=f"'{ORDER_COMPLETED}'",
    anonymous_id="NULL",
    user_id="customer_id",
    previous_id="NULL",
    at="purchased_at",
    value="total",
    value_required="true",
)

_EMAIL = Form(
    fields=("message_id", "customer_id", "event", "at", "campaign"),
    required=("message_id", "customer_id", "event", "at"),
    message_id="message_id",
    kind="CASE WHEN lower(\"event\") IN ('sent', 'opened', 'clicked') THEN 'track' ELSE \"event\" END",
    name=f"""CASE lower("event") WHEN 'sent' THEN '{EMAIL_SENT}' WHEN 'opened' THEN '{EMAIL_OPENED}'
             WHEN 'clicked' THEN '{EMAIL_CLICKED}' END""",
    anonymous_id="NULL",
    user_id="customer_id",
    previous_id="NULL",
    at='"at"',
    value="NULL",
    value_required="false",
)

FORMS = {Source.WEB: _SEGMENT, Source.APP: _SEGMENT, Source.CRM: _CRM, Source.POS: _POS, Source.EMAIL: _EMAIL}


def records_from_json(form: Form) -> str:
    """Return SQL over `chunk(position, raw)` that gives `(position, raw, malformed, <fields>)`."""
    shape = ", ".join(f'"{field}": "{_json_type(field)}"' for field in form.fields)
    return f"""
        SELECT position, raw, valid IS NULL AS malformed, unnest(json_transform(valid, '{{{shape}}}'))
        FROM (SELECT position, raw,
                     CASE WHEN json_valid(raw) AND raw[1] = '{{' THEN raw END AS valid
              FROM chunk)
    """  # noqa: S608 - built from the constant forms above


def records_from_columns(form: Form, columns: Sequence[str]) -> str:
    """Return SQL over a tabular `chunk` that gives the same shape, extra columns kept as text."""
    present = [f"{_quoted(c)}::VARCHAR AS {_quoted(c)}" for c in columns]
    absent = [f"NULL::VARCHAR AS {_quoted(c)}" for c in form.fields if c not in columns]
    return f"SELECT position, raw, malformed, {', '.join(present + absent)} FROM chunk"  # noqa: S608


def normalized(form: Form, extra: Sequence[str]) -> str:
    """Return SQL over `records` that gives one row per record in the normalized shape, not yet checked."""
    attributes = form.properties or _attributes(form, extra)
    return f"""
        SELECT position, raw, malformed,
               trim({form.message_id}) AS message_id, {form.kind} AS kind, trim({form.name}) AS name,
               nullif(trim({form.anonymous_id}), '') AS anonymous_id,
               nullif(trim({form.user_id}), '') AS user_id,
               nullif(trim({form.previous_id}), '') AS previous_id,
               try_cast({form.at} AS TIMESTAMPTZ) AS "at",
               {form.value} AS value_text, {form.value_required} AS value_required,
               ({attributes})::VARCHAR AS properties
        FROM records
    """  # noqa: S608 - built from the constant forms above and quoted column names


def _attributes(form: Form, extra: Sequence[str]) -> str:
    ids = {"customer_id", "message_id", "receipt_id"}
    names = [name for name in (*form.fields, *extra) if name not in ids]
    pairs = ", ".join(f"'{name.replace(chr(39), chr(39) * 2)}', {_quoted(name)}" for name in names)
    return f"json_object({pairs})"


def _json_type(field: str) -> str:
    return "JSON" if field in {"properties", "traits"} else "VARCHAR"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
