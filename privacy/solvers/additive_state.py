"""What brands and coordinator of an additive solver exchange, and the state between rounds."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from privacy.errors import InvalidContributionError
from privacy.vectors import Arrays

MAX_MAGNITUDE = 1e12
"""Largest number in a query, far beyond what a run reaches. With a larger one a customer's logit could
overflow, and whether the sum is then refused would tell that the customer is in it."""


@dataclass(frozen=True)
class Marginals:
    """What round 0 released.

    Attributes:
        total: noisy histograms of all features and the noisy label sum, shape (cells + 1,).
        noise_shares: variance of the noise in it over that of the mechanism, at least 1: the number of brands
            where each added all the noise.
    """

    total: NDArray[np.float64]
    noise_shares: float


@dataclass(frozen=True)
class Query:
    """What every brand is sent for a round.

    Attributes:
        marginals: None in round 0.
        point: where the gradient is taken, shape (p,), empty in round 0.
    """

    marginals: Marginals | None
    point: NDArray[np.float64]

    def to_arrays(self) -> Arrays:
        """Return the query as named arrays, for a message."""
        return {**_marginals_to_arrays(self.marginals), "point": self.point}

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> "Query":
        """Read back what `to_arrays` gave.

        Raises:
            InvalidContributionError: arrays are missing, or hold numbers that no run reaches.
        """
        try:
            point = np.asarray(arrays["point"], dtype=np.float64)
            query = cls(marginals=_marginals_from_arrays(arrays), point=point)
        except (KeyError, ValueError, TypeError):
            raise InvalidContributionError("The round's arrays are not a query of this solver.") from None
        numbers = point if query.marginals is None else np.append(point, query.marginals.total)
        if not np.all(np.abs(numbers) <= MAX_MAGNITUDE):
            raise InvalidContributionError("The round's arrays hold numbers that no run reaches.")
        if query.marginals is not None and not 1 <= query.marginals.noise_shares <= MAX_MAGNITUDE:
            raise InvalidContributionError("Released marginals hold at least one full draw of noise.")
        return query


@dataclass(frozen=True)
class SolverState:
    """Where the solver stands between rounds; every field is a release or made of releases.

    Attributes:
        next_round: the round that has not been released, 0 to T + 1.
        marginals: None before round 0 is released.
        weights: current iterate, shape (p,).
        previous: iterate before it, shape (p,).
        tail_sum: sum of the second half's iterates so far, shape (p,).
        tail_count: number of iterates in that sum.
    """

    next_round: int
    marginals: Marginals | None
    weights: NDArray[np.float64]
    previous: NDArray[np.float64]
    tail_sum: NDArray[np.float64]
    tail_count: int

    def to_arrays(self) -> Arrays:
        """Return the state as named arrays, for a checkpoint."""
        return {
            **_marginals_to_arrays(self.marginals),
            "counters": np.array([self.next_round, self.tail_count], dtype=np.int64),
            "weights": self.weights,
            "previous": self.previous,
            "tail_sum": self.tail_sum,
        }

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> "SolverState":
        """Read back what `to_arrays` gave."""
        next_round, tail_count = (int(value) for value in arrays["counters"])
        names = ("weights", "previous", "tail_sum")
        vectors = {name: np.asarray(arrays[name], dtype=np.float64) for name in names}
        marginals = _marginals_from_arrays(arrays)
        return cls(next_round=next_round, marginals=marginals, tail_count=tail_count, **vectors)


def _marginals_to_arrays(marginals: Marginals | None) -> Arrays:
    """Return the arrays; a whole number of shares is an integer, as in every digest of trust mode `local`."""
    if marginals is None:
        return {}
    shares = np.array([marginals.noise_shares], dtype=np.float64)
    if np.all(shares == np.rint(shares)):
        return {"marginals": marginals.total, "noise_shares": shares.astype(np.int64)}
    return {"marginals": marginals.total, "noise_shares": shares}


def _marginals_from_arrays(arrays: Arrays) -> Marginals | None:
    if "marginals" not in arrays:
        return None
    total = np.asarray(arrays["marginals"], dtype=np.float64)
    return Marginals(total, float(arrays["noise_shares"].item()))
