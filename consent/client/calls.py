"""What every call to the service shares: its token, keys and waits, and how an answer or a refusal is read."""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, TypeVar

import httpx
from pydantic import BaseModel

from consent import errors
from consent.client.patience import PATIENT, Patience
from consent.errors import ConsentError, UnavailableError
from consent.peer import Peer
from consent.problem import Problem

NAME = "consent service"
KEY = "Idempotency-Key"
KEY_BYTES = 16
Answer = TypeVar("Answer", bound=BaseModel)


def _subclasses(kind: type[ConsentError]) -> Iterator[type[ConsentError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _subclasses(child)


ERRORS: Mapping[str, type[ConsentError]] = {kind.code: kind for kind in _subclasses(errors.ConsentError)}


class Calls:
    """Requests of one principal; see `consent.client.ConsentClient` for the arguments."""

    def __init__(self, http: httpx.Client, token: str, *, patience: Patience = PATIENT) -> None:
        self._http = http
        self._peer = Peer(http, NAME, UnavailableError)
        self._headers = {"Authorization": f"Bearer {token}"}
        self._patience = patience

    def _get(self, path: str, parameters: Mapping[str, str | int] | None = None) -> bytes:
        return self._send(self._request("GET", path, parameters=parameters), repeatable=True)

    def _put(self, path: str, body: BaseModel) -> bytes:
        return self._send(self._request("PUT", path, body), repeatable=True)

    def _delete(self, path: str) -> bytes:
        return self._send(self._request("DELETE", path), repeatable=True)

    def _ask(self, path: str, body: BaseModel, *, repeatable: bool = False) -> bytes:
        """Ask for what changes nothing, or has its key in its body and so is `repeatable`."""
        return self._send(self._request("POST", path, body), repeatable=repeatable)

    def _act(self, path: str, body: BaseModel | None = None) -> bytes:
        """Change something, under a key that is used for this call alone."""
        return self._act_under(secrets.token_urlsafe(KEY_BYTES), path, body)

    def _act_under(self, key: str | None, path: str, body: BaseModel | None) -> bytes:
        """Change something under a key of the caller's, or without one, and then once at most."""
        headers = {} if key is None else {KEY: key}
        return self._send(self._request("POST", path, body, headers=headers), repeatable=key is not None)

    @contextmanager
    def _stream(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        content: IO[bytes] | None = None,
        silence: float | None = None,
    ) -> Iterator[httpx.Response]:
        """Give an answer that is read as it comes; after `silence` seconds without a byte it counts as lost."""
        timeout = self._http.timeout if silence is None else httpx.Timeout(silence)
        sent = {**self._headers, **headers}
        with (
            self._peer.reached(),
            self._http.stream(method, path, headers=sent, content=content, timeout=timeout) as response,
        ):
            if not response.is_success:
                response.read()
                raise self._refusal(response)
            yield response

    def _read(self, kind: type[Answer], content: bytes) -> Answer:
        return self._peer.read(kind, content)

    def _request(
        self,
        method: str,
        path: str,
        body: BaseModel | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        parameters: Mapping[str, str | int] | None = None,
    ) -> httpx.Request:
        sent = {**self._headers, **(headers or {})}
        if body is None:
            return self._http.build_request(method, path, headers=sent, params=parameters)
        sent["Content-Type"] = "application/json"
        return self._http.build_request(method, path, headers=sent, content=body.model_dump_json().encode())

    def _send(self, request: httpx.Request, *, repeatable: bool) -> bytes:
        response = self._patience.send(self._peer, request, repeatable=repeatable)
        if response.is_success:
            return response.content
        raise self._refusal(response)

    def _refusal(self, response: httpx.Response) -> ConsentError:
        """Return the error that a refusal names, with the seconds to wait where it carries them."""
        problem = self._read(Problem, response.content)
        kind = ERRORS.get(problem.code, ConsentError)
        told = response.headers.get("retry-after", "")
        if issubclass(kind, errors.BusyError | errors.RateLimitedError) and told.isdecimal():
            return kind(problem.detail, retry_after=int(told))
        return kind(problem.detail)
