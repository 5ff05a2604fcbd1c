"""A brand's server that receives deliveries over TLS on the loopback address, and answers as it is told."""

import ssl
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

from deployed_certificates import AUTHORITY, CERTIFICATE, KEY, write_certificates


@dataclass
class Received:
    """One request: its headers by lower-case names, and its body."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """What came in, and what is answered next; 200 where nothing is said."""

    port: int
    received: list[Received] = field(default_factory=list)
    answers: deque[int] = field(default_factory=deque)
    connections: int = 0
    arrived: Event = field(default_factory=Event)

    def url(self, host: str = "localhost") -> str:
        return f"https://{host}:{self.port}/told"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    receiver: Receiver

    def get_request(self) -> Any:
        self.receiver.connections += 1
        return super().get_request()


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        receiver = self.server.receiver
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        receiver.received.append(Received(self.path, headers, body))
        receiver.arrived.set()
        status = receiver.answers.popleft() if receiver.answers else 200
        self.send_response(status)
        if status in (301, 302, 307, 308):
            self.send_header("Location", receiver.url() + "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def receiving(folder: Path) -> Iterator[Receiver]:
    """Give a receiver whose certificates lie in a folder."""
    write_certificates(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / CERTIFICATE, folder / KEY)
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.receiver = Receiver(server.server_address[1])
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.receiver
        finally:
            server.shutdown()
            thread.join()


def authority(folder: Path) -> Path:
    """Where the certificate authority of the receiver in a folder lies."""
    return folder / AUTHORITY
