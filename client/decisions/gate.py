"""The consent gate as deciding sees it."""

from collections.abc import Sequence
from typing import Protocol

from consent.contract import Decision, DecisionQuery


class ConsentGate(Protocol):
    """Answers whether a purpose may be done over a channel for a customer now; fails closed."""

    def allowed(self, queries: Sequence[DecisionQuery]) -> Sequence[Decision]:
        """Return one decision per query, in order. An exception means that nothing is allowed."""
        ...
