"""The persistent holdout: customers who are never treated, so that lift can be measured."""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from client.errors import DecisionError

_LABEL = b"confide/v1/holdout\n"


@dataclass(frozen=True, slots=True)
class Holdout:
    """A share of customers, chosen by HMAC-SHA-256 of their id under a key of the brand.

    Membership depends on the key, the share and the id alone: no change of consent or of features moves
    anybody, and raising the share only adds members.
    """

    key: bytes = field(repr=False)
    share: float

    def __post_init__(self) -> None:
        """Refuse a share that is none, and a key that can be guessed."""
        if not 0 <= self.share < 1:
            raise DecisionError(f"A holdout share is at least 0 and below 1, not {self.share}.")
        if len(self.key) < hashlib.sha256().digest_size:
            raise DecisionError("A holdout key has at least 32 bytes.")

    @classmethod
    def generate(cls, share: float) -> Self:
        """Make a holdout under a new key from the operating system's CSPRNG; keep the key to keep the members."""
        return cls(key=secrets.token_bytes(32), share=share)

    def contains(self, customer: str) -> bool:
        """Whether this customer is held out."""
        digest = hmac.digest(self.key, _LABEL + customer.encode(), "sha256")
        return int.from_bytes(digest[:8], "big") < self.share * 2**64

    def members(self, customers: Sequence[str]) -> NDArray[np.bool_]:
        """Return one boolean per customer."""
        return np.fromiter((self.contains(c) for c in customers), dtype=np.bool_, count=len(customers))
