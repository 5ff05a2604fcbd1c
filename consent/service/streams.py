"""Streams of events that stay open: how many, for how long, and that they end when the service does."""

import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from threading import Event as Signal
from threading import Lock

from anyio import sleep
from anyio.to_thread import run_sync
from fastapi.sse import format_sse_event
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from consent.errors import RateLimitedError
from consent.events import HEARTBEAT_SECONDS, NAMES, Event, Position, Reset, Told
from consent.service import events
from consent.service.work import Workplace

POLL_SECONDS = 0.2
STREAM_SECONDS = 60.0
"""After which a stream ends, to be connected again with a token that still has to be right."""
MOST_PER_PRINCIPAL = 8
"""Streams of one principal at one process."""
RETRY_SECONDS = 5


class Streams:
    """The open streams of one process."""

    def __init__(self, *, most: int = MOST_PER_PRINCIPAL, seconds: float = STREAM_SECONDS) -> None:
        self._most = most
        self.seconds = seconds
        self._open = Counter[int]()
        self._lock = Lock()
        self._ending = Signal()

    @property
    def ending(self) -> bool:
        """Whether the service ends, and streams with it."""
        return self._ending.is_set()

    def end(self) -> None:
        """Have all streams end soon, and none begin."""
        self._ending.set()

    @contextmanager
    def one_of(self, principal: int) -> Iterator[None]:
        """Count a stream while it is open.

        Raises:
            RateLimitedError: the principal has as many as it may have.
        """
        with self._lock:
            if self._open[principal] >= self._most or self.ending:
                raise RateLimitedError(
                    "This principal has as many streams of events open as it may; close one.",
                    retry_after=RETRY_SECONDS,
                )
            self._open[principal] += 1
        try:
            yield
        finally:
            with self._lock:
                self._open[principal] -= 1


class EventStream(StreamingResponse):
    """The answer that tells a brand's events from a position of the log on."""

    media_type = "text/event-stream"

    def __init__(self, streams: Streams, work: Workplace, *, principal: int, brand: str, size: int) -> None:
        super().__init__(self._tell(work, brand, size), headers={"Cache-Control": "no-store"})
        self._streams = streams
        self._principal = principal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until the reader or the service has enough."""
        with self._streams.one_of(self._principal):
            await super().__call__(scope, receive, send)

    async def _tell(self, work: Workplace, brand: str, size: int) -> AsyncIterator[bytes]:
        began = time.monotonic()
        spoken = began - HEARTBEAT_SECONDS
        while not self._streams.ending and time.monotonic() - began < self._streams.seconds:
            told, end = await run_sync(_news, work, brand, size)
            for event, index in events.with_ids(told):
                yield _encode(event, index)
            if end.log_size != size or time.monotonic() - spoken >= HEARTBEAT_SECONDS:
                yield _encode(end, end.log_size - 1)
                spoken = time.monotonic()
            size = end.log_size
            await sleep(POLL_SECONDS)


def _news(work: Workplace, brand: str, size: int) -> tuple[Sequence[Told], Position | Reset]:
    with work.reading() as unit:
        return events.since(unit, brand, size)


def _encode(event: Event, index: int | None) -> bytes:
    return format_sse_event(
        event=NAMES[type(event)], data_str=event.model_dump_json(), id=None if index is None else str(index)
    )
