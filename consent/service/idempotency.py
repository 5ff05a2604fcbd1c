"""Idempotency keys: a request that is sent again has one effect, and is answered as it was the first time.

What is kept for that commits with the effect. It is kept under a key that is derived from the caller's token and
the idempotency key, neither of which the service stores: who reads the database, with the service's own keys too,
learns nothing of a request or its answer, not even whether a guess is right. So an answer that shows a secret once
is repeated with it, to who has token and key alone. An erasure takes both away all the same
(`consent.service.erasure`), and days do (`consent.service.kept_requests`).
"""

import hashlib
import hmac
from collections.abc import Callable
from typing import Annotated

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from fastapi import Depends, Header, Request
from pydantic import BaseModel
from starlette.responses import Response

from consent.errors import ConflictError
from consent.service import kept_requests
from consent.service.access import Work, caller_of
from consent.service.work import Caller, Unit, Workplace
from consent.store.schema import IdempotencyRow

REPLAYED = {"Idempotency-Replayed": "true"}
LABEL = b"confide/v1/idempotency"
KEY_BYTES = 32
NONCE_BYTES = 12
Act = Callable[[Unit], BaseModel | None]
Afterwards = Callable[[bytes], bytes]
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[!-~]{1,128}$",
        description="A request sent again under the same key has no second effect and is answered as the first.",
    ),
]


class Once:
    """Does what a request asks in one unit of work; where the request brings a key, once per key.

    Args:
        work: what the act works on.
        key: the idempotency key; None where there is none.
        caller: whose keys they are.
        token: the caller's token, as sent.
        request: everything that the request asks: method, path and body.
    """

    def __init__(self, work: Workplace, *, key: str | None, caller: Caller, token: str, request: bytes) -> None:
        self._work = work
        self._key = key
        self._caller = caller
        self._token = token
        self._request = request

    @property
    def keyed(self) -> bool:
        """Whether the request brings a key."""
        return self._key is not None

    def answer(self, act: Act, *, afterwards: Afterwards = bytes) -> Response:
        """Do it and answer, or answer as before.

        Args:
            act: what is asked; its answer is kept with its effect.
            afterwards: what is done once that is committed, by a repeat too, so that what broke off is finished:
                it takes the answer and returns the one to send.

        Raises:
            ConflictError: the key was used for another request, or under another token.
        """
        with self._work.writing() as unit:
            kept = None if self._key is None else _Kept(self._key, self._token)
            content, replayed = (_encoded(act(unit)), False) if kept is None else self._once(unit, act, kept)
        return _response(afterwards(content), replayed=replayed)

    def _once(self, unit: Unit, act: Act, kept: "_Kept") -> tuple[bytes, bool]:
        """Return the answer, and whether it is the one of before."""
        name = kept.name(self._caller)
        unit.lock()
        row = kept_requests.find(unit, self._caller.id, name)
        if row is not None:
            return kept.read(row, self._request), True
        first, content = unit.log_size(), _encoded(act(unit))
        kept_requests.keep(
            unit,
            self._caller.id,
            name,
            request=kept.digest(self._request),
            response=kept.seal(content, unit.random_bytes(NONCE_BYTES)),
            first_index=first,
        )
        return content, False


class _Kept:
    """How the answer to one key is kept."""

    def __init__(self, key: str, token: str) -> None:
        secret = f"{token}\n{key}".encode()
        derived = HKDF(SHA256(), 2 * KEY_BYTES, salt=None, info=LABEL).derive(secret)
        self._key = key
        self._cipher, self._digest_key = AESGCM(derived[:KEY_BYTES]), derived[KEY_BYTES:]

    def name(self, caller: Caller) -> str:
        """Return the key as it is looked up; customers share a principal, so theirs goes with their token."""
        if caller.subject is not None:
            return self.digest(LABEL)
        return hashlib.sha256(LABEL + self._key.encode()).hexdigest()

    def digest(self, request: bytes) -> str:
        return hmac.digest(self._digest_key, request, hashlib.sha256).hex()

    def seal(self, content: bytes, nonce: bytes) -> bytes:
        return nonce + self._cipher.encrypt(nonce, content, LABEL)

    def read(self, row: IdempotencyRow, request: bytes) -> bytes:
        if row.request is None or not hmac.compare_digest(row.request, self.digest(request)):
            raise ConflictError(
                "This idempotency key was used for another request, or under another token: see what was done, "
                "and take a new key for what was not."
            )
        return self._cipher.decrypt(row.response[:NONCE_BYTES], row.response[NONCE_BYTES:], LABEL)


async def _once(request: Request, work: Work, key: Key = None) -> Once:
    caller = caller_of(request)
    if not isinstance(caller, Caller):
        raise caller
    token = request.headers.get("authorization", "")
    asked = f"{request.method} {request.url.path}\n".encode() + await request.body()
    return Once(work, key=key, caller=caller, token=token, request=asked)


OncePerKey = Annotated[Once, Depends(_once)]


def _encoded(answer: BaseModel | None) -> bytes:
    return b"" if answer is None else answer.model_dump_json().encode()


def _response(content: bytes, *, replayed: bool = False) -> Response:
    headers = REPLAYED if replayed else None
    if not content:
        return Response(status_code=204, headers=headers)
    return Response(content, media_type="application/json", headers=headers)
