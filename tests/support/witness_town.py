"""Witnesses that a log's tests can reach, take down, and have answer anything."""

from collections.abc import Callable
from pathlib import Path

import httpx
from small_log import KEY, ORIGIN

from consent.log.note import VerifierKey, verifier_key
from consent.log.policy import Policy
from consent.log.remote import LiveFolder
from consent.log.verify import Trust
from consent.log.witnessing import WitnessAddress, Witnessing
from consent.transport import InProcessTransport
from consent.witness import WitnessSettings, create_app, initialise

LOG_VKEY = verifier_key(ORIGIN, KEY)


class Town:
    """Some witnesses, each reachable under its own host until it is taken down."""

    def __init__(self, folder: Path, count: int, log: VerifierKey = LOG_VKEY) -> None:
        self.down: set[str] = set()
        self.answers: dict[str, Callable[[httpx.Request], httpx.Response]] = {}
        self.refusals: list[tuple[str, str]] = []
        self.addresses: list[WitnessAddress] = []
        self.transports: list[InProcessTransport] = []
        for number in range(count):
            name = f"w{number}.example"
            settings = WitnessSettings(data_dir=folder / name, name=name, logs=(log.encode(),))
            self.addresses.append(WitnessAddress(f"http://{name}", initialise(settings)))
            transport = InProcessTransport(create_app(settings))
            self.transports.append(transport)
            self.answers[name] = transport.handle_request
        self.http = httpx.Client(transport=httpx.MockTransport(self._answer))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if request.url.host in self.down:
            raise httpx.ConnectError("down")
        return self.answers[request.url.host](request)

    def witnessing(self, folder: Path, quorum: int) -> Witnessing:
        return Witnessing(
            self.addresses,
            quorum=quorum,
            http=self.http,
            source=LiveFolder(folder),
            on_refusal=lambda name, why: self.refusals.append((name, why)),
        )

    def policy(self, rule: str) -> Trust:
        lines = [f"log {LOG_VKEY.encode()}"]
        lines += [f"witness W{n} {address.key.encode()}" for n, address in enumerate(self.addresses)]
        lines += [f"group G {rule} {' '.join(f'W{n}' for n in range(len(self.addresses)))}", "quorum G", ""]
        return Trust(policy=Policy.parse("\n".join(lines).encode()))
