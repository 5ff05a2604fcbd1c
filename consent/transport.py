"""A consent service in the same process, behind the same HTTP client: no sockets, same code."""

from contextlib import ExitStack
from typing import Self

import httpx
from anyio.from_thread import start_blocking_portal
from starlette.types import ASGIApp


class InProcessTransport(httpx.BaseTransport):
    """Runs an ASGI application on an event loop of its own for synchronous clients of any thread.

    Use as a context manager, or close it: it owns a thread.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._asgi = httpx.ASGITransport(app=app)
        self._resources = ExitStack()
        self._portal = self._resources.enter_context(start_blocking_portal())

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        return self._portal.call(self._answer, request)

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        content = request.read()
        response = await self._asgi.handle_async_request(
            httpx.Request(request.method, request.url, headers=request.headers, content=content)
        )
        body = await response.aread()
        return httpx.Response(response.status_code, headers=response.headers, content=body, request=request)

    def close(self) -> None:
        """Stop the event loop and its thread."""
        self._resources.close()

    def __enter__(self) -> Self:
        """Return the transport itself."""
        return self
