"""The outermost layer: caps bodies, writes one line per request, and lets no exception out.

A line holds method, route template, status and duration; never an address as sent, a body or a message. Of what
a caller may write freely it repeats the identifier of a trace alone.
"""

import re
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from consent.errors import TooLargeError
from consent.service import problems
from consent.service.logbook import logbook

UNMATCHED = "unmatched"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER = "other"
"""Stands for a method of the caller's own making."""
TRACEPARENT = re.compile(rb"00-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
"""W3C Trace Context, section 3.2; what else such a caller sends along is not read."""
Answered = Callable[[str, str, int | None, float], None]
"""Told of each request: method, route template, status if there was an answer, and seconds."""
STREAM = b"text/event-stream"
"""An answer that is open for as long as both sides like, and so is given once it begins."""


class Boundary:
    """ASGI middleware around the whole application.

    Args:
        app: the application.
        max_body_bytes: the largest body that is read before the application sees the request.
        streamed: paths that take their bodies as they come, each with the largest.
        answered: told of each request.
        seconds: a monotonic clock.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        max_body_bytes: int,
        streamed: Mapping[str, int],
        answered: Answered,
        seconds: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._streamed = streamed
        self._answered = answered
        self._seconds = seconds
        self._log = logbook()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = _Given(send, self._seconds)
        try:
            await self._app(scope, await self._body(scope, receive), given)
        except TooLargeError as error:
            await problems.answer(error)(scope, receive, given)
        except problems.OUTAGES as error:
            self._log.error("database_failed", fault=type(error).__name__, at=_frames(error))
            if given.status is None:
                await problems.outage()(scope, receive, given)
        except Exception as error:
            self._log.error("request_failed", fault=type(error).__name__, at=_frames(error))
            if given.status is None:
                await problems.fault()(scope, receive, given)
        finally:
            self._line(scope, given.status, given.seconds())

    async def _body(self, scope: Scope, receive: Receive) -> Receive:
        limit = self._streamed.get(scope["path"])
        if limit is not None:
            return _counted(receive, limit)
        return _given(await _read(receive, self._max_body_bytes), receive)

    def _line(self, scope: Scope, status: int | None, seconds: float) -> None:
        method = scope["method"] if scope["method"] in METHODS else OTHER
        route = getattr(scope.get("route"), "path", UNMATCHED)
        self._answered(method, route, status, seconds)
        self._log.info(
            "request",
            method=method,
            route=route,
            status=status,
            milliseconds=round(seconds * 1000, 1),
            **_trace(scope),
        )


class _Given:
    """Passes an answer on, and knows its status and how long it took."""

    def __init__(self, send: Send, seconds: Callable[[], float]) -> None:
        self.status: int | None = None
        self._send = send
        self._now = seconds
        self._started = seconds()
        self._begun: float | None = None

    async def __call__(self, message: Message) -> None:
        """Pass a message on."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if any(name == b"content-type" and value.startswith(STREAM) for name, value in message["headers"]):
                self._begun = self._now()
        await self._send(message)

    def seconds(self) -> float:
        """Return how long it took to answer, to the end, or of a stream of events to its beginning."""
        ended = self._now() if self._begun is None else self._begun
        return ended - self._started


def _trace(scope: Scope) -> dict[str, str]:
    """Return the identifier of the trace that the request belongs to, where it names a well-formed one."""
    sent = next((value for name, value in scope["headers"] if name == b"traceparent"), b"")
    found = TRACEPARENT.fullmatch(sent)
    return {"trace": found[1].decode()} if found else {}


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


def _counted(receive: Receive, limit: int) -> Receive:
    """Hand out a body as it comes, up to its largest size."""
    left = limit

    async def counted() -> Message:
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise TooLargeError(f"The file is larger than {limit} bytes; send it in several.")
        return message

    return counted


def _frames(error: BaseException) -> list[Any]:
    return [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)[-3:]]
