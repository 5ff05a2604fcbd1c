"""How one table becomes several brands, and which customers are held out for evaluation."""

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from simulations.errors import InputError

HELD_OUT_SHARE = 0.2
SKEW_CONCENTRATION = 0.7
ATTEMPTS = 200


class Split(StrEnum):
    """How customers fall to brands."""

    IID = "iid"
    SKEW = "skew"


def split_customers(
    labels: NDArray[np.int8],
    *,
    brands: int,
    split: Split,
    minimum: int,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Return the brand of each customer, shape (n,), in [0, brands).

    An IID split deals customers out at random, equally. A skewed one draws, for each class of the label, the
    brands' shares from a Dirichlet distribution with concentration 0.7, so that sizes and base rates differ.

    Raises:
        InputError: no split leaves every brand with `minimum` customers to train on.
    """
    if len(labels) * (1 - HELD_OUT_SHARE) < brands * minimum:
        raise InputError(
            f"{len(labels)} customers over {brands} brands leave fewer than the minimum cohort of {minimum} to "
            f"train on at each; take fewer brands or more customers."
        )
    if split is Split.IID:
        return rng.permutation(np.arange(len(labels)) % brands)
    for _ in range(ATTEMPTS):
        assigned = _skewed(labels, brands, rng)
        if np.bincount(assigned, minlength=brands).min() * (1 - HELD_OUT_SHARE) >= 1.25 * minimum:
            return assigned
    raise InputError("No skewed split leaves every brand the minimum cohort; take fewer brands.")


def hold_out(count: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return a mask of shape (count,) with a fifth of the customers, for evaluation only."""
    mask = np.zeros(count, dtype=np.bool_)
    mask[rng.permutation(count)[: round(count * HELD_OUT_SHARE)]] = True
    return mask


def _skewed(labels: NDArray[np.int8], brands: int, rng: np.random.Generator) -> NDArray[np.int64]:
    assigned = np.zeros(len(labels), dtype=np.int64)
    for label in (0, 1):
        rows = np.flatnonzero(labels == label)
        shares = rng.dirichlet(np.full(brands, SKEW_CONCENTRATION))
        assigned[rows] = rng.choice(brands, size=len(rows), p=shares)
    return assigned
