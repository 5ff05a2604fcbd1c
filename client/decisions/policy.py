"""How a brand decides: caps, quiet hours and exploration, each a value that can be reviewed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from client.errors import DecisionError
from consent.contract import Channel

PUSHED = frozenset({Channel.EMAIL, Channel.SMS, Channel.PUSH})
"""Channels that reach out; the others wait until the customer comes."""


@dataclass(frozen=True, slots=True)
class FrequencyCap:
    """At most `limit` sends to a customer in any window of this length, over one channel or over all."""

    rule_id: str
    limit: int
    window: timedelta
    channel: Channel | None = None

    def __post_init__(self) -> None:
        """Refuse windows that hold nothing and limits below none."""
        if self.limit < 0 or self.window <= timedelta(0):
            raise DecisionError(f"Cap {self.rule_id!r} needs a limit of 0 or more and a window above zero.")

    def covers(self, channel: Channel) -> bool:
        """Whether a send over `channel` counts."""
        return self.channel is None or self.channel == channel


@dataclass(frozen=True, slots=True)
class QuietHours:
    """No send from `start` to `end` on the customer's own clock, over midnight if `end` comes first."""

    start: time
    end: time
    zone: str
    channels: frozenset[Channel] = PUSHED
    rule_id: str = "quiet-hours"

    def quiet(self, now: datetime, zones: Sequence[str | None]) -> NDArray[np.bool_]:
        """Return, per customer, whether it is quiet now; a customer without a zone has the brand's."""
        names = [zone or self.zone for zone in zones]
        answers = {name: self._is_quiet(now.astimezone(ZoneInfo(name)).time()) for name in set(names)}
        return np.fromiter((answers[name] for name in names), dtype=np.bool_, count=len(names))

    def _is_quiet(self, clock: time) -> bool:
        if self.start <= self.end:
            return self.start <= clock < self.end
        return clock >= self.start or clock < self.end


class Exploration(Protocol):
    """Turns scores into probabilities."""

    def probabilities(self, scores: NDArray[np.float64], admitted: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return (n, k) rows that sum to 1, positive exactly where `admitted` holds."""
        ...


@dataclass(frozen=True, slots=True)
class EpsilonGreedy:
    """The best admitted action, and with probability `epsilon` any admitted one."""

    epsilon: float

    def __post_init__(self) -> None:
        """Refuse a policy that never explores: its logs could not be evaluated."""
        if not 0 < self.epsilon <= 1:
            raise DecisionError(f"Exploration needs an epsilon above 0 and at most 1, not {self.epsilon}.")

    def probabilities(self, scores: NDArray[np.float64], admitted: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return (n, k) rows that sum to 1, positive exactly where `admitted` holds."""
        best = np.argmax(np.where(admitted, scores, -np.inf), axis=1)
        spread: NDArray[np.float64] = self.epsilon * admitted / admitted.sum(axis=1, keepdims=True)
        spread[np.arange(len(best)), best] += 1 - self.epsilon
        return spread


@dataclass(frozen=True, slots=True)
class Softmax:
    """Probabilities proportional to exp(score / temperature), mixed with `floor` spread evenly."""

    temperature: float
    floor: float = 0.01

    def __post_init__(self) -> None:
        """Refuse settings that could leave an admitted action without a chance."""
        if not (self.temperature > 0 and math.isfinite(self.temperature) and 0 < self.floor <= 1):
            raise DecisionError("Softmax needs a finite temperature above 0 and a floor above 0, at most 1.")

    def probabilities(self, scores: NDArray[np.float64], admitted: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return (n, k) rows that sum to 1, positive exactly where `admitted` holds."""
        kept = np.where(admitted, scores / self.temperature, -np.inf)
        weights = np.exp(kept - kept.max(axis=1, keepdims=True))
        even = admitted / admitted.sum(axis=1, keepdims=True)
        mixed: NDArray[np.float64] = (1 - self.floor) * weights / weights.sum(
            axis=1, keepdims=True
        ) + self.floor * even
        return mixed


@dataclass(frozen=True, slots=True)
class DecisionPolicy:
    """What a brand has approved for one purpose."""

    brand: str
    purpose: str
    exploration: EpsilonGreedy | Softmax
    caps: tuple[FrequencyCap, ...] = ()
    quiet_hours: QuietHours | None = None
