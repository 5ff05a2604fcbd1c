"""Asking another process over HTTP: what is raised when nobody answers, or somebody who is not the one asked."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import httpx
from pydantic import BaseModel, ValidationError

Answer = TypeVar("Answer", bound=BaseModel)


@dataclass(frozen=True)
class Peer:
    """Who is asked.

    Args:
        http: a client whose base URL is the peer's.
        name: what sentences call it.
        unreachable: makes the error of a peer that does not answer, or not as itself.
    """

    http: httpx.Client
    name: str
    unreachable: Callable[[str], Exception]

    @contextmanager
    def reached(self) -> Iterator[None]:
        """Raise `unreachable` where the peer does not answer, or breaks off, within the block."""
        try:
            yield
        except httpx.TransportError as error:
            raise self.unreachable(
                f"The {self.name} does not answer ({type(error).__name__}); check that it runs."
            ) from None

    def send(self, request: httpx.Request) -> httpx.Response:
        """Send a request and return what is answered, refusals too; raises `unreachable`."""
        with self.reached():
            return self.http.send(request)

    def read(self, kind: type[Answer], content: bytes) -> Answer:
        """Read an answer; raises `unreachable` where it is none of the peer's."""
        try:
            return kind.model_validate_json(content)
        except ValidationError:
            raise self.unreachable(
                f"The {self.name} answered in a form that is not its own; check what listens there."
            ) from None
