"""Pages for people, each whole in one file: no script, nothing fetched, everything that was sent escaped."""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from jinja2 import Environment, StrictUndefined

from consent.preference_signals import OptOutAnswer
from consent.rights import AccessStatement

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Even a page that somebody smuggled markup into could load and send nothing."""


@cache
def _environment() -> Environment:
    return Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def statement_page(statement: AccessStatement) -> str:
    """Return the statement as a page to read and print."""
    template = files(__package__).joinpath("statement.html").read_text(encoding="utf-8")
    proofs = {proof.log_index: proof for proof in statement.proofs}
    return _environment().from_string(template).render(statement=statement, proofs=proofs)


def confirmation_page(answer: OptOutAnswer, titles: Mapping[str, str]) -> str:
    """Return an opt-out's confirmation as a page to show, purposes under their titles."""
    template = files(__package__).joinpath("confirmation.html").read_text(encoding="utf-8")
    return _environment().from_string(template).render(answer=answer, titles=titles)
