"""How the coordinator opens a sum of brands' releases: the seam where secure aggregation fits.

In `local` mode every brand has added all the noise itself, so its release may be seen: the sum is opened by
adding. A secure sum implements the same two protocols, masking at the brand and opening only the total.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from privacy.errors import InvalidContributionError


class Masker(Protocol):
    """A brand's side: hide a noised vector so that only the sum over brands can be read."""

    def mask(self, released: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return what may leave the brand, shape (p,)."""
        ...


class Aggregator(Protocol):
    """The coordinator's side: open the sum of what the brands sent."""

    def noise_shares(self, brands: int) -> int:
        """Return how many independent full noise draws are in a sum over `brands` brands."""
        ...

    def open(self, contributions: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
        """Return the sum, shape (p,), of the brands' vectors, each of shape (p,)."""
        ...


class OpenMasker:
    """No mask: right only where the brand's own noise already carries the whole guarantee."""

    def mask(self, released: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the vector unchanged."""
        return released


class OpenSum:
    """The sum in `local` mode: every brand's release stands on its own noise."""

    def noise_shares(self, brands: int) -> int:
        """Return the number of brands: each added all the noise."""
        return brands

    def open(self, contributions: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
        """Return the exact integer sum.

        Raises:
            InvalidContributionError: no vector, or vectors of different lengths.
        """
        if not contributions or any(vector.shape != contributions[0].shape for vector in contributions):
            raise InvalidContributionError("Brands' sums must be at least one, and all of one length.")
        return np.asarray(np.stack(contributions).sum(axis=0), dtype=np.int64)
