"""How often somebody may ask: token buckets in memory, on by default, that never touch the database.

Several workers know nothing of each other's buckets, so each of them gives out its share of a rate; a burst stays
whole, since whoever sends one sends it over one connection, which one worker serves.
"""

import threading
import time
from collections.abc import Callable, Hashable
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Protocol

from consent.errors import RateLimitedError
from consent.rates import Rate

MAX_BUCKETS = 100_000
IPV6_PREFIX = 64
"""What one subscriber is given: all of its addresses are one peer."""

REQUESTS = Rate(2_000, 4_000)
"""Of one principal with all of its API keys, whatever it asks."""
CAREFUL = Rate(10, 200)
"""Of one principal, of whatever is not `QUICK`: searches, access, erasure, keys, whatever a new route does."""
WORK = {"decisions": Rate(50_000, 200_000), "choices": Rate(20_000, 200_000)}
"""Of one principal: questions answered and choices recorded, however they are batched."""
ABOUT_SUBJECT = Rate(0.5, 60)
"""Of all principals together about one customer; recording their choices and ending what they agreed to is not
counted, so that a withdrawal never waits for it."""
SUBJECT = Rate(1, 60)
"""Of one customer with a token of their own."""
PEER = Rate(1_000, 20_000)
"""Of one address that sends no token: it reads the published log, tile by tile."""
WRONG_TOKENS = Rate(1, 60)
"""Of one address, tokens that nobody holds. Right ones from there are let in all the same."""
QUICK = frozenset(
    {
        "choices",
        "confirmations",
        "decisions",
        "keys",
        "releases",
        "rounds",
        "signals",
        "snapshots",
        "subject-tokens",
        "subjects/objection",
        "subjects/withdrawal",
    }
)
"""Paths, or their first parts, that are asked all the time, and those that end what a customer agreed to."""


class Asker(Protocol):
    """An authenticated caller, as far as limits go; its API keys have no buckets of their own."""

    @property
    def id(self) -> int:
        """The principal."""

    @property
    def brand(self) -> str | None:
        """The brand, where there is one."""

    @property
    def subject(self) -> str | None:
        """The customer, where one asks."""


class Limits:
    """All buckets of one process.

    Args:
        factor: what every rate and burst is multiplied by.
        workers: processes that serve beside each other.
        now: seconds of a clock that never goes back.
    """

    def __init__(self, *, factor: float = 1, workers: int = 1, now: Callable[[], float] = time.monotonic) -> None:
        self._factor = factor
        self._share = factor / workers
        self._now = now
        self._full_at: dict[Hashable, float] = {}
        self._lock = threading.Lock()

    def admit(self, caller: Asker, path: str) -> None:
        """Count one request for a route, by its path under /v1/ without parameters.

        Raises:
            RateLimitedError: there were too many, here as in all of these.
        """
        who = (caller.id, caller.subject)
        self._take(("requests", who), REQUESTS)
        if caller.subject is not None:
            self._take(("subject", caller.brand, caller.subject), SUBJECT)
        elif not {path, path.partition("/")[0]} & QUICK:
            self._take(("careful", who), CAREFUL)

    def spend(self, caller: Asker, noun: str, count: int) -> None:
        """Count the items of a batch. One is taken while anything is left, however large, and waited for after."""
        self._take(("work", noun, caller.id), WORK[noun], count)

    def about(self, brand: str, subject: str) -> None:
        """Count one look at a customer, or one act on them that is not a choice."""
        self._take(("about", brand, subject), ABOUT_SUBJECT)

    def peer(self, address: str) -> None:
        """Count one request without a token."""
        self._take(("peer", _subscriber(address)), PEER)

    def wrong_token(self, address: str) -> None:
        """Count one token that nobody holds."""
        self._take(("wrong", _subscriber(address)), WRONG_TOKENS)

    def _take(self, key: Hashable, rate: Rate, count: int = 1) -> None:
        share = Rate(rate.per_second * self._share, rate.burst * self._factor)
        now = self._now()
        with self._lock:
            full_at, wait = share.take(self._full_at.get(key, now), now, count)
            if not wait:
                self._full_at[key] = full_at
                if len(self._full_at) > MAX_BUCKETS:
                    self._forget(now)
        if wait:
            raise RateLimitedError(f"Too many requests; come back in {wait} seconds.", retry_after=wait)

    def _forget(self, now: float) -> None:
        """Drop full buckets, which say nothing, and where that is not enough those that are nearest to full."""
        emptiest = sorted(self._full_at.items(), key=lambda item: item[1])[-MAX_BUCKETS // 2 :]
        self._full_at = {key: full_at for key, full_at in emptiest if full_at > now}


def _subscriber(address: str) -> str:
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None:
        return str(ip_network((parsed.packed, IPV6_PREFIX), strict=False))
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)
