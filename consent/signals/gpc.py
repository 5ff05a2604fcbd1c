"""Global Privacy Control: the `Sec-GPC` header of a request, and the page that says we honour it.

Source: W3C Privacy Working Group, "Global Privacy Control (GPC)", editor's draft, sections "The Sec-GPC Header
Field for HTTP Requests" and "GPC Support Resource".
"""

from collections.abc import Sequence
from datetime import date

SIGNAL = "1"
OPTIONAL_WHITESPACE = " \t"
"""RFC 9110, section 5.5: spaces and tabs around a field's value are no part of it."""


def gpc_applies(header_values: Sequence[str]) -> bool:
    """Tell whether a request carries the signal; `header_values` are those of each `Sec-GPC` line, uncombined.

    The value must be exactly `1`: `0`, `true`, `1;x` and the list `1, 1` are as if absent, since the field is
    neither a list nor extensible. Of several lines one that is exactly `1` is enough.
    """
    return any(value.strip(OPTIONAL_WHITESPACE) == SIGNAL for value in header_values)


def gpc_support(last_update: date) -> dict[str, bool | str]:
    """Return the JSON of `/.well-known/gpc.json`: that we abide by the signal, and since when we say so."""
    return {"gpc": True, "lastUpdate": f"{last_update:%Y-%m-%d}"}
