"""What all brands of a run agree on, and what they say to each other by way of the coordinator."""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from privacy.errors import SecureSumError

MIN_BRANDS = 3
MAX_BRANDS = 100
MAX_SLOTS = 4_096
KEY_BYTES = 32


@dataclass(frozen=True)
class Scheme:
    """A run's brands and what has to hold among them.

    Args:
        run: 32 bytes that name the run; they enter every key.
        brands: distinct names; their order gives each its point.
        colluding: brands that may collude with the coordinator.
        dropouts: brands that may fail in a slot and the sum be opened all the same.
        slots: attempts at rounds that are prepared for.

    Raises:
        SecureSumError: no threshold holds against so many colluders and dropouts, or a number is out of range.
    """

    run: bytes
    brands: tuple[str, ...]
    colluding: int
    dropouts: int
    slots: int

    def __post_init__(self) -> None:
        size = len(self.brands)
        if not MIN_BRANDS <= size <= MAX_BRANDS or len(set(self.brands)) != size:
            raise SecureSumError(f"A secure sum is over {MIN_BRANDS} to {MAX_BRANDS} different brands.")
        if len(self.run) != KEY_BYTES or not 1 <= self.slots <= MAX_SLOTS:
            raise SecureSumError(f"A run has a name of {KEY_BYTES} bytes and 1 to {MAX_SLOTS} slots.")
        if self.colluding < 0 or self.dropouts < 0 or self.threshold > self.quorum:
            raise SecureSumError(
                f"{size} brands can not stand {self.colluding} colluders and {self.dropouts} dropouts: it needs "
                f"more than half of all brands and colluders to answer; state fewer, or ask more brands."
            )

    @property
    def threshold(self) -> int:
        """Shares that open a secret: more than half of brands and colluders together.

        With t of them, a coordinator that tells some brands that one arrived and others that it did not, and
        `colluding` brands that answer both, would need 2 (t - c) <= n - c honest answers to have both secrets.
        """
        return (len(self.brands) + self.colluding) // 2 + 1

    @property
    def quorum(self) -> int:
        """Brands that must have arrived before a sum is opened: fewer bring less noise than is accounted for."""
        return len(self.brands) - self.dropouts

    @property
    def fewest(self) -> int:
        """Brands whose noise counts on: all but dropouts and colluders."""
        return self.quorum - self.colluding

    def point(self, brand: str) -> int:
        """Return where a brand's shares lie, from 1.

        Raises:
            SecureSumError: it takes no part.
        """
        if brand not in self.brands:
            raise SecureSumError("A message is from or about a brand that takes no part.")
        return self.brands.index(brand) + 1


@dataclass(frozen=True)
class Ring:
    """The integers modulo 2^bits in which a sum is masked; 32 or 64."""

    bits: int

    @classmethod
    def holding(cls, largest: int) -> Self:
        """Return the smallest ring in which a sum up to this magnitude does not wrap.

        Raises:
            SecureSumError: none is large enough.
        """
        for bits in (32, 64):
            if largest < 2 ** (bits - 1):
                return cls(bits)
        raise SecureSumError("The sum could pass 63 bits; choose a coarser grid or a smaller clip norm.")

    @property
    def type(self) -> type[np.unsignedinteger]:
        """The array type of masked vectors."""
        return np.uint32 if self.bits == 32 else np.uint64  # noqa: PLR2004

    def into(self, values: NDArray[np.int64]) -> NDArray[np.unsignedinteger]:
        """Return signed integers as elements."""
        return values.astype(np.uint64).astype(self.type)

    def out_of(self, elements: NDArray[np.unsignedinteger]) -> NDArray[np.int64]:
        """Return elements as the signed integers of least magnitude."""
        signed = np.int32 if self.bits == 32 else np.int64  # noqa: PLR2004
        return elements.view(signed).astype(np.int64)


def largest_sum(brands: int, bound: int, deviation: float, coordinates: int, failure_bits: int = 40) -> int:
    """Return a magnitude that no coordinate of a noised sum passes, but with probability under 2^-failure_bits.

    Args:
        brands: how many sums are added.
        bound: largest magnitude of a coordinate of one brand's sum.
        deviation: parameter s of the noise of all brands together.
        coordinates: length of the vector.
        failure_bits: how unlikely it has to be.

    A discrete Gaussian is s-sub-Gaussian (Canonne, Kamath and Steinke 2020, fact 18), and so is a sum of
    independent ones with the root of the sum of squares.
    """
    unlikely = (failure_bits + 1) * math.log(2) + math.log(coordinates)
    return brands * bound + math.ceil(deviation * math.sqrt(2 * unlikely))


@dataclass(frozen=True)
class Advertisement:
    """What a brand publishes before a run, to be signed with its enrolled key.

    Args:
        brand: its name.
        box_key: X25519 public key under which shares are sent to it.
        slot_keys: X25519 public key for each slot.
        commitments: SHA-256 of its own seed for each slot.
    """

    brand: str
    box_key: bytes
    slot_keys: tuple[bytes, ...]
    commitments: tuple[bytes, ...]


@dataclass(frozen=True)
class SealedShares:
    """One brand's shares for another, for all slots, encrypted to it."""

    sender: str
    receiver: str
    ciphertext: bytes


@dataclass(frozen=True)
class UnmaskRequest:
    """Who arrived in a slot and who did not: together all brands of the slot, and nobody in both."""

    slot: int
    context: bytes
    arrived: frozenset[str]
    missing: frozenset[str]


@dataclass(frozen=True)
class Unmasking:
    """One brand's shares: of the seeds of those that arrived, and of the keys of those that did not."""

    brand: str
    slot: int
    seeds: dict[str, bytes]
    keys: dict[str, bytes]
