"""Answers that are polled: who has the present one already is told so alone (RFC 9110, section 13.1.2)."""

import hashlib
from collections.abc import Callable

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

TAG_DIGITS = 32
PRIVATE = {"Cache-Control": "private, no-cache"}
"""Asked anew each time, and kept by nobody but the caller."""


def unless_known(request: Request, answer: BaseModel) -> Response:
    """Answer 200 with an entity tag, or 304 where the request names that tag."""
    content = answer.model_dump_json()
    return unless_tagged(request, hashlib.sha256(content.encode()).hexdigest(), lambda: content)


def unless_tagged(request: Request, digest: str, content: Callable[[], str]) -> Response:
    """Answer as `unless_known` does, with content that is made only where it is wanted.

    Args:
        request: what may name the tag.
        digest: a hash that changes with the content.
        content: makes the content, as JSON.
    """
    headers = {"ETag": f'"{digest[:TAG_DIGITS]}"', **PRIVATE}
    if _names(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(content(), media_type="application/json", headers=headers)


def _names(request: Request, tag: str) -> bool:
    sent = ",".join(request.headers.getlist("if-none-match"))
    known = {one.strip().removeprefix("W/") for one in sent.split(",")}
    return tag in known or known == {"*"}
