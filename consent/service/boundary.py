"""The outermost layer: caps bodies, writes one line per request, and lets no exception out.

A line holds method, route template, status and duration; never an address as sent, a body or a message.
"""

import time
import traceback
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from consent.errors import TooLargeError
from consent.service import problems
from consent.service.logbook import logbook

UNMATCHED = "unmatched"


class Boundary:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, *, max_body_bytes: int) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._log = logbook()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status: list[int] = []

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                status.append(message["status"])
            await send(message)

        try:
            body = await _read(receive, self._max_body_bytes)
            await self._app(scope, _given(body, receive), noting)
        except TooLargeError as error:
            await problems.answer(error)(scope, receive, noting)
        except Exception as error:
            self._log.error("request_failed", fault=type(error).__name__, at=_frames(error))
            if not status:
                await problems.fault()(scope, receive, noting)
        finally:
            self._line(scope, status, time.perf_counter() - started)

    def _line(self, scope: Scope, status: list[int], seconds: float) -> None:
        self._log.info(
            "request",
            method=scope["method"],
            route=getattr(scope.get("route"), "path", UNMATCHED),
            status=status[0] if status else None,
            milliseconds=round(seconds * 1000, 1),
        )


async def _read(receive: Receive, limit: int) -> bytes:
    """Read the whole body, or as much of it as shows that it is too large."""
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > limit:
            raise TooLargeError(f"The request is larger than {limit} bytes; send smaller batches.")
        if not message.get("more_body", False):
            return bytes(body)


def _given(body: bytes, receive: Receive) -> Receive:
    """Hand out a body that was already read, then whatever follows."""
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def given() -> Message:
        return pending.pop() if pending else await receive()

    return given


def _frames(error: BaseException) -> list[Any]:
    return [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)[-3:]]
