"""A customer's name outside the brand: an HMAC under a key that only the brand's agent holds."""

import hashlib
import hmac
from collections.abc import Iterable


class Pseudonymizer:
    """Turns customer ids into pseudonyms; two brands' pseudonyms of one person have nothing in common."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def pseudonym(self, customer: str) -> str:
        """Return HMAC-SHA-256 (RFC 2104) of the customer's id, 64 hex digits."""
        return hmac.new(self._key, customer.encode(), hashlib.sha256).hexdigest()

    def pseudonyms(self, customers: Iterable[str]) -> tuple[str, ...]:
        """Return the pseudonyms of several customers, in order."""
        return tuple(self.pseudonym(customer) for customer in customers)
