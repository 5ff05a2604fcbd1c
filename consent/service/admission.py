"""Before anything else of a request is looked at: whose token it brings, and whether they come too often.

What a wrong token is answered, and that, is left to the route, which may be open to all.
"""

import re

from anyio.to_thread import run_sync
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from consent.errors import RateLimitedError, UnauthenticatedError
from consent.service import problems
from consent.service.access import nobody
from consent.service.api_keys import PREFIX as KEY_PREFIX
from consent.service.api_keys import authenticate_key
from consent.service.oidc import OidcVerifier, known_person
from consent.service.principals import authenticate
from consent.service.remembered import Remembered
from consent.service.subject_tokens import PREFIX as SUBJECT_PREFIX
from consent.service.subject_tokens import authenticate_subject
from consent.service.work import Caller, Workplace

SCHEME = "bearer"
ENDING_TOKENS = ("/v1/principals", "/v1/api-keys", "/v1/subject-tokens/revocation", "/v1/requests/")
"""Where tokens are taken away: by who gave them, by another that takes their place, and by an erasure."""
ENROLLED_LENGTH = 43
API_KEY = re.compile(rf"{KEY_PREFIX}[A-Za-z0-9_-]{{{ENROLLED_LENGTH}}}")
SUBJECT_TOKEN = re.compile(rf"{SUBJECT_PREFIX}[A-Za-z0-9_-]{{{ENROLLED_LENGTH}}}")
JWT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


class Admission:
    """ASGI middleware that puts the caller, or why there is none, into the request's state."""

    def __init__(
        self, app: ASGIApp, *, work: Workplace, oidc: OidcVerifier | None, remembered: Remembered
    ) -> None:
        self._app = app
        self._work = work
        self._oidc = oidc
        self._remembered = remembered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "http":
            try:
                scope.setdefault("state", {})["caller"] = await self._caller(scope)
            except RateLimitedError as error:
                await problems.answer(error)(scope, receive, send)
                return
            if scope["method"] == "POST" and scope["path"].startswith(ENDING_TOKENS):
                send = self._forgetting(send)
        await self._app(scope, receive, send)

    def _forgetting(self, send: Send) -> Send:
        """Forget whose tokens are whose before a caller hears that it changed."""

        async def forgetting(message: Message) -> None:
            self._remembered.forget()
            await send(message)

        return forgetting

    async def _caller(self, scope: Scope) -> Caller | UnauthenticatedError:
        peer = scope["client"][0] if scope.get("client") else ""
        sent = Headers(scope=scope).getlist("authorization")
        if not sent:
            self._work.limits.peer(peer)
            return nobody()
        try:
            token = _token(sent)
            known = self._remembered.get(token, self._work.clock())
            return await run_sync(self._looked_up, token) if known is None else known
        except UnauthenticatedError as error:
            self._work.limits.wrong_token(peer)
            return error

    def _looked_up(self, token: str) -> Caller:
        mark, now = self._remembered.mark(), self._work.clock()
        caller = self.authenticate(token)
        self._remembered.put(token, caller, now, mark)
        return caller

    def authenticate(self, token: str) -> Caller:
        """Return whom a token speaks for; the four kinds of tokens differ in form.

        Raises:
            UnauthenticatedError: nobody, or not any more.
        """
        now = self._work.clock()
        if API_KEY.fullmatch(token):
            used = authenticate_key(self._work.database, token, now)
            if used.last_used_on != now.date():
                self._work.last_use.note(used.key_id, now.date())
            return used.caller
        if SUBJECT_TOKEN.fullmatch(token):
            return authenticate_subject(self._work.database, token, now)
        if self._oidc is not None and JWT.fullmatch(token):
            return known_person(self._work, self._oidc.verify(token))
        return authenticate(self._work.database, token, now)


def _token(sent: list[str]) -> str:
    scheme, _, token = sent[0].partition(" ")
    if len(sent) != 1 or scheme.lower() != SCHEME or not token.strip():
        raise nobody()
    return token.strip()
