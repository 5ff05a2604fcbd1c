"""Serving the application over HTTP, in one process or several, until a signal ends it.

What was asked before the signal is answered, what comes after it is refused, and the process ends with status 0.
"""

import gc
import logging
import os
import signal
import sys
from functools import partial
from socket import socket
from tempfile import TemporaryDirectory
from types import FrameType

import uvicorn
from fastapi import FastAPI
from uvicorn.supervisors import Multiprocess

from consent.errors import SetupError
from consent.service import create_app
from consent.service.metrics import MULTIPROCESS
from consent.service.streams import Streams
from consent.settings import ConsentSettings

SWITCH_SECONDS = 0.0005
"""How long a thread that computes, as one that publishes does, lets those wait that have a question to answer."""
GRACE_SECONDS = 30
"""After which requests that still run at the end are cut off."""
START_SECONDS = 60
"""After which a worker that does not answer the supervisor, as while it imports, is replaced."""
CHATTY = ("httpx", "httpcore")
"""Libraries whose lines name the addresses of webhooks."""


class _Server(uvicorn.Server):
    """Uvicorn waits for open answers before it tells the application to end; streams have to hear it earlier."""

    def __init__(self, config: uvicorn.Config, streams: Streams) -> None:
        super().__init__(config)
        self._streams = streams

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take a signal."""
        self._streams.end()
        super().handle_exit(sig, frame)


class _Workers(Multiprocess):
    """Several processes on one socket; once they are told to end, nothing new is taken."""

    def terminate_all(self) -> None:
        """Tell them."""
        for listening in self.sockets:
            listening.close()
        super().terminate_all()


def serve(settings: ConsentSettings) -> None:
    """Serve until a signal ends it.

    Raises:
        SetupError: it was not initialised, or several processes were asked for on SQLite.
        LogInconsistentError: the database does not extend the published log.
    """
    # Uvicorn raises the signal that ended it once more when it is done, which would be the end by that signal.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if settings.workers == 1:
        _serve_alone(settings)
        return
    if settings.url.startswith("sqlite"):
        raise SetupError("Several processes need PostgreSQL; set database_url, or workers to 1.")
    # What keeps a worker from starting is told once here, and not by each of them over and over.
    create_app(settings).state.workplace.close()
    with TemporaryDirectory(prefix="confide-figures-") as figures:
        os.environ[MULTIPROCESS] = figures
        config = server_config("consent.serving:serve", settings)
        _Workers(config, target=partial(_serve_alone, settings), sockets=[config.bind_socket()]).run()


def _serve_alone(settings: ConsentSettings, sockets: list[socket] | None = None) -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    app = create_app(settings)
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.collect()
    gc.freeze()
    _Server(server_config(app, settings), app.state.streams).run(sockets)


def server_config(app: FastAPI | str, settings: ConsentSettings) -> uvicorn.Config:
    """Return how the server runs; `X-Forwarded-For` is believed of trusted proxies alone."""
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=[str(network) for network in settings.trusted_proxies],
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=GRACE_SECONDS,
        timeout_worker_healthcheck=START_SECONDS,
    )
