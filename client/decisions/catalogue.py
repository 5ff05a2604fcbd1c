"""What can be done: approved actions, and the rules that say for whom."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from client.errors import DecisionError
from client.features import CustomerTable
from consent.contract import Channel

NO_ACTION = "no-action"
"""The action id of doing nothing; always a candidate, always admitted, score 0."""


@dataclass(frozen=True, slots=True)
class EligibilityRule:
    """Admits customers whose `feature` lies in `[at_least, at_most]`, or is one of `one_of`.

    A missing value is never admitted.
    """

    rule_id: str
    feature: str
    at_least: float | None = None
    at_most: float | None = None
    one_of: tuple[str, ...] = ()

    def admits(self, table: CustomerTable) -> NDArray[np.bool_]:
        """Return one boolean per customer.

        Raises:
            DecisionError: the table lacks the feature, or has one of the other kind.
        """
        column = table.columns.get(self.feature)
        if column is None or (column.dtype == np.float64) == bool(self.one_of):
            raise DecisionError(f"Rule {self.rule_id!r} does not fit the table's column {self.feature!r}.")
        if self.one_of:
            return np.fromiter((level in self.one_of for level in column), dtype=np.bool_, count=len(column))
        values = column.astype(np.float64)
        lower = -math.inf if self.at_least is None else self.at_least
        upper = math.inf if self.at_most is None else self.at_most
        admitted: NDArray[np.bool_] = (values >= lower) & (values <= upper)
        return admitted


@dataclass(frozen=True, slots=True)
class Action:
    """An approved creative on a channel: what a conversion after it is worth, and what sending it costs."""

    action_id: str
    creative: str
    channel: Channel
    value: float
    cost: float
    rules: tuple[EligibilityRule, ...] = ()

    def __post_init__(self) -> None:
        """Refuse numbers that could not be compared, and the reserved id."""
        if not (math.isfinite(self.value) and math.isfinite(self.cost)):
            raise DecisionError(f"Action {self.action_id!r}: value and cost must be finite.")
        if self.action_id == NO_ACTION:
            raise DecisionError(f"{NO_ACTION!r} is always in the catalogue; name the action otherwise.")
