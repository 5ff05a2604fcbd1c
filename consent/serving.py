"""Serving the application over HTTP, with streams that end when the service is told to."""

from types import FrameType

import uvicorn
from fastapi import FastAPI

from consent.service.streams import Streams
from consent.settings import ConsentSettings

GRACE_SECONDS = 30
"""After which requests that still run at the end are cut off."""


class _Server(uvicorn.Server):
    """Uvicorn waits for open answers before it tells the application to end; streams have to hear it earlier."""

    def __init__(self, config: uvicorn.Config, streams: Streams) -> None:
        super().__init__(config)
        self._streams = streams

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take a signal."""
        self._streams.end()
        super().handle_exit(sig, frame)


def serve(app: FastAPI, settings: ConsentSettings) -> None:
    """Serve until a signal ends it."""
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    _Server(config, app.state.streams).run()
