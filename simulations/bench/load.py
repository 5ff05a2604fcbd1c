"""Requests over loopback: connections that stay open, at a fixed rate or as fast as answers come.

At a fixed rate, a request's time runs from when it was due, not from when a connection was free for it, so that
a service that stalls is charged for everything that waited meanwhile (coordinated omission).
"""

import asyncio
import time
from collections import deque
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import uvloop

Result = TypeVar("Result")
HEAD_END = b"\r\n\r\n"
LENGTH = b"content-length:"
OK = b"HTTP/1.1 2"


@dataclass(frozen=True)
class Address:
    """Where the service listens, and as whom it is asked."""

    host: str
    port: int
    token: str

    def request(self, path: str, body: bytes) -> bytes:
        """Return the bytes of a POST."""
        return (
            f"POST {path} HTTP/1.1\r\nHost: {self.host}\r\nAuthorization: Bearer {self.token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode() + body


class _Connection(asyncio.Protocol):
    """Sends one request at a time and reads its answer."""

    def __init__(self) -> None:
        self._answer: asyncio.Future[bytes] | None = None
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(HEAD_END)
        if not found or len(body) < _length(head):
            return
        self._buffer = b""
        if self._answer is not None:
            if head.startswith(OK):
                self._answer.set_result(body)
            else:
                self._answer.set_exception(RuntimeError(f"The service answered {head[:40]!r}."))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError("The service closed a connection."))

    async def send(self, request: bytes) -> bytes:
        """Send a request and return the body of its answer."""
        self._answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return await self._answer


def _length(head: bytes) -> int:
    lower = head.lower()
    start = lower.index(LENGTH) + len(LENGTH)
    return int(lower[start : (lower + b"\r").index(b"\r", start)])


async def _connect(address: Address, count: int) -> list[_Connection]:
    loop = asyncio.get_running_loop()
    made = [await loop.create_connection(_Connection, address.host, address.port) for _ in range(count)]
    return [connection for _, connection in made]


async def _close(connections: Sequence[_Connection]) -> None:
    for connection in connections:
        connection.transport.close()
    await asyncio.sleep(0)


async def one_after_another(address: Address, requests: Sequence[bytes], *, connections: int) -> list[float]:
    """Send requests over so many connections, each its next when it was answered; return seconds, by request."""
    opened = await _connect(address, connections)
    pending = deque(requests)
    seconds: list[float] = []

    async def drain(connection: _Connection) -> None:
        while pending:
            request = pending.popleft()
            began = time.perf_counter()
            await connection.send(request)
            seconds.append(time.perf_counter() - began)

    await asyncio.gather(*map(drain, opened))
    await _close(opened)
    return seconds


async def at_rate(address: Address, requests: Sequence[bytes], *, rate: float, connections: int) -> list[float]:
    """Send `rate` requests a second whatever becomes of them; return seconds since each was due."""
    free = deque(await _connect(address, connections))
    everyone = list(free)
    due: deque[tuple[float, bytes]] = deque()
    seconds: list[float] = []

    async def serve(connection: _Connection) -> None:
        while due:
            moment, request = due.popleft()
            await connection.send(request)
            seconds.append(time.perf_counter() - moment)
        free.append(connection)

    began = time.perf_counter()
    running = set()
    for number, request in enumerate(requests):
        moment = began + number / rate
        wait = moment - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        due.append((moment, request))
        if free:
            task = asyncio.create_task(serve(free.popleft()))
            running.add(task)
            task.add_done_callback(running.discard)
    while running:
        await asyncio.gather(*tuple(running))
    await _close(everyone)
    return seconds


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a load to its end, on a loop that costs the service's cores little."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def quantile(seconds: Sequence[float], share: float) -> float:
    """Return the time, in milliseconds, that this share of requests did not exceed."""
    ordered = sorted(seconds)
    return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]
