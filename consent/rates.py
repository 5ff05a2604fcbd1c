"""Token buckets, each kept as the time at which it is full: the generic cell rate algorithm of ITU-T I.371."""

import math
from typing import NamedTuple

ROUNDING = 1e-6
"""The part of one token that sums of times may be wrong by."""


class Taken(NamedTuple):
    """What became of a bucket from which somebody wanted to take."""

    full_at: float
    """When it is full again, in seconds of the clock that it was asked by."""
    wait: int
    """Seconds after which one token is there; 0 where the tokens were given."""


class Rate(NamedTuple):
    """How many a second over time, and how many at once."""

    per_second: float
    burst: float

    @property
    def depth(self) -> float:
        """Seconds in which an empty bucket fills."""
        return self.burst / self.per_second

    def take(self, full_at: float, now: float, count: int = 1) -> Taken:
        """Take tokens out of a bucket, if one is there; more than are there are waited for by who comes next.

        Args:
            full_at: when the bucket is full, in seconds of a clock; a time that is over, where it is.
            now: the clock's time.
            count: how many tokens to take.
        """
        interval = 1 / self.per_second
        full_at = max(full_at, now)
        wait = full_at + interval - now - self.depth
        if wait > interval * ROUNDING:
            return Taken(full_at, max(math.ceil(wait), 1))
        return Taken(full_at + count * interval, 0)
