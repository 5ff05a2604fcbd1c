"""How long a call waits for a service that says when to come back: bounded, and where a repeat is safe.

A library of retries would bring its loop, which is five lines here, and leave the rest to be written: when a
repeat is safe, that the wait is the one that was told, that all waits together are bounded, and that their spread
is not drawn from a generator that others can foresee.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from secrets import SystemRandom

import httpx

from consent.peer import Peer

COME_BACK = frozenset({httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE})
"""Statuses after which nothing was done and, with `Retry-After`, will be later (RFC 9110, section 10.2.3)."""
LEAST_SECONDS = 1.0
MOST_SPREAD = 0.5
"""Share of a wait that is waited beyond it, so that those who were refused together do not come back together."""


def _spread() -> float:
    return SystemRandom().uniform(0, MOST_SPREAD)


@dataclass(frozen=True)
class Patience:
    """How long one call waits altogether.

    Args:
        seconds: of all of its waits together; 0 never waits.
        sleep: waits.
        spread: draws the share of a wait that is waited beyond it.
    """

    seconds: float = 30.0
    sleep: Callable[[float], None] = time.sleep
    spread: Callable[[], float] = _spread

    def send(self, peer: Peer, request: httpx.Request, *, repeatable: bool) -> httpx.Response:
        """Send a request until it is not told to come back, or may not wait any longer; return the last answer."""
        left = self.seconds if repeatable else 0.0
        response = peer.send(request)
        while (wait := self._wait_before_next(response)) is not None and wait <= left:
            left -= wait
            self.sleep(wait)
            response = peer.send(request)
        return response

    def _wait_before_next(self, response: httpx.Response) -> float | None:
        """Return the seconds to wait, or None for an answer that does not say when to come back."""
        told = response.headers.get("retry-after", "")
        if response.status_code not in COME_BACK or not told.isdecimal():
            return None
        return max(float(told), LEAST_SECONDS) * (1 + self.spread())


PATIENT = Patience()
IMPATIENT = Patience(seconds=0)
