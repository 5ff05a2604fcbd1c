"""Incremental lift, measured against a randomised holdout and against nothing else."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from client.errors import LiftRefusedError


@dataclass(frozen=True, slots=True)
class Lift:
    """Conversion rates of the two arms as assigned, their difference and its confidence interval."""

    treated: int
    treated_converted: int
    held_out: int
    held_out_converted: int
    difference: float
    lower: float
    upper: float
    confidence: float

    @property
    def treated_rate(self) -> float:
        """Conversion rate of everybody assigned to the policy, reached or not."""
        return self.treated_converted / self.treated

    @property
    def held_out_rate(self) -> float:
        """Conversion rate of the holdout."""
        return self.held_out_converted / self.held_out


def measure_lift(held_out: NDArray[np.bool_], converted: NDArray[np.bool_], *, confidence: float = 0.95) -> Lift:
    """Compare the arms by intention to treat: who was assigned counts, not who was reached.

    The interval is Newcombe's hybrid of two Wilson intervals without continuity correction (R. G. Newcombe,
    Interval estimation for the difference between independent proportions, Statistics in Medicine 17, 1998,
    873-890, method 10).

    Args:
        held_out: (n,) the arm each customer was assigned to, before anything was sent.
        converted: (n,) whether the customer converted in the window.
        confidence: coverage of the interval, between 0 and 1.

    Raises:
        LiftRefusedError: one of the arms has no one, or the arrays do not fit each other.
    """
    if len(held_out) != len(converted):
        raise LiftRefusedError("Lift needs one arm and one outcome for each customer.")
    n0, n1 = int(held_out.sum()), int((~held_out).sum())
    if n0 == 0:
        raise LiftRefusedError(
            "No lift without a holdout: nobody was held out. Set a holdout share and measure the next window."
        )
    if n1 == 0:
        raise LiftRefusedError("No lift without a treated arm: everybody was held out.")
    x0, x1 = int((converted & held_out).sum()), int((converted & ~held_out).sum())
    p0, p1 = x0 / n0, x1 / n1
    lower0, upper0 = wilson(x0, n0, confidence)
    lower1, upper1 = wilson(x1, n1, confidence)
    return Lift(
        treated=n1,
        treated_converted=x1,
        held_out=n0,
        held_out_converted=x0,
        difference=p1 - p0,
        lower=p1 - p0 - math.hypot(p1 - lower1, upper0 - p0),
        upper=p1 - p0 + math.hypot(upper1 - p1, p0 - lower0),
        confidence=confidence,
    )


def wilson(successes: int, n: int, confidence: float) -> tuple[float, float]:
    """Return Wilson's score interval for a proportion (E. B. Wilson, JASA 22, 1927, 209-212)."""
    z = float(norm.ppf(0.5 + confidence / 2))
    p = successes / n
    centre = p + z * z / (2 * n)
    spread = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)
