"""Where noise comes from: the operating system's CSPRNG, or a seed that voids every guarantee."""

import secrets
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

RandomBytes = Callable[[int], bytes]
"""A source of bytes: `secrets.token_bytes`, or a seeded one, which voids every guarantee."""
_FRACTION_BITS = 53


class NoiseSource(Protocol):
    """Standard normal draws and random bytes; `guaranteed` says whether an adversary can not predict them."""

    @property
    def guaranteed(self) -> bool:
        """Whether the draws may carry a privacy guarantee."""
        ...

    def normal(self, size: int) -> NDArray[np.float64]:
        """Return `size` independent standard normal draws."""
        ...

    def random_bytes(self, size: int) -> bytes:
        """Return `size` bytes, for noise that is drawn exactly."""
        ...


class SystemNoise:
    """Draws from the operating system's CSPRNG, by inversion of the normal distribution function."""

    guaranteed = True

    def normal(self, size: int) -> NDArray[np.float64]:
        """Return `size` draws; each uses 64 fresh random bits, one for the sign and 53 for the size."""
        words = np.frombuffer(secrets.token_bytes(8 * size), dtype=np.uint64)
        return _from_words(words)

    def random_bytes(self, size: int) -> bytes:
        """Return `size` bytes of the CSPRNG."""
        return secrets.token_bytes(size)


class SeededNoise:
    """Repeatable draws, for simulations that must be compared bit by bit: no privacy guarantee."""

    guaranteed = False

    def __init__(self, seed: int) -> None:
        self._generator = np.random.default_rng(seed)

    def normal(self, size: int) -> NDArray[np.float64]:
        """Return the next `size` draws of the seeded stream."""
        return _from_words(self._generator.integers(0, 2**64, size=size, dtype=np.uint64))

    def random_bytes(self, size: int) -> bytes:
        """Return the next `size` bytes of the seeded stream."""
        return self._generator.bytes(size)


def _from_words(words: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Turn 64-bit words into normal draws: the upper tail of a half-open uniform, and a sign."""
    sign = np.where(words & np.uint64(1), 1.0, -1.0)
    fraction = (words >> np.uint64(64 - _FRACTION_BITS)).astype(np.float64)
    upper_tail = (fraction + 0.5) * 2.0 ** -(_FRACTION_BITS + 1)
    return np.asarray(-sign * ndtri(upper_tail), dtype=np.float64)
