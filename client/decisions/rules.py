"""The board on which every rule leaves, for each customer and candidate, whether it let it pass."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from client.decisions.record import CandidateTrace

_UNASKED, _PASSED, _BLOCKED = 0, 1, -1


class RuleBoard:
    """Outcomes of rules for n customers and k candidates, in the order in which rules were asked."""

    def __init__(self, customers: int, candidates: Sequence[str]) -> None:
        """Start a board on which nothing was asked yet."""
        self._customers = customers
        self._candidates = tuple(candidates)
        self._outcomes: list[dict[str, NDArray[np.int8]]] = [{} for _ in candidates]

    def check(self, candidate: int, rule_id: str, passes: NDArray[np.bool_]) -> None:
        """Note one rule's answer for a candidate, one boolean per customer."""
        self.check_some(
            candidate, np.arange(self._customers), np.full(self._customers, rule_id, dtype=object), passes
        )

    def check_all(self, rule_id: str, passes: NDArray[np.bool_]) -> None:
        """Note one rule's answer for every candidate."""
        for candidate in range(len(self._candidates)):
            self.check(candidate, rule_id, passes)

    def check_some(
        self,
        candidate: int,
        rows: NDArray[np.intp],
        rule_ids: NDArray[np.object_],
        passes: NDArray[np.bool_],
    ) -> None:
        """Note answers for some customers, each under its own rule id."""
        outcomes = self._outcomes[candidate]
        for rule_id in dict.fromkeys(rule_ids.tolist()):
            under = rule_ids == rule_id
            column = outcomes.setdefault(rule_id, np.full(self._customers, _UNASKED, dtype=np.int8))
            now = np.where(passes[under], _PASSED, _BLOCKED)
            before = column[rows[under]]
            column[rows[under]] = np.where(before == _BLOCKED, _BLOCKED, now)

    def admitted(self) -> NDArray[np.bool_]:
        """Return (n, k): whether no rule has blocked the candidate for the customer."""
        admitted = np.ones((self._customers, len(self._candidates)), dtype=np.bool_)
        for k, outcomes in enumerate(self._outcomes):
            for column in outcomes.values():
                admitted[:, k] &= column != _BLOCKED
        return admitted

    def traces(self) -> list[tuple[CandidateTrace, ...]]:
        """Return each customer's traces; customers with the same outcomes share one tuple."""
        named = [(k, rule_id) for k, outcomes in enumerate(self._outcomes) for rule_id in outcomes]
        if not named:
            return [tuple(CandidateTrace(action, (), ()) for action in self._candidates)] * self._customers
        matrix = np.column_stack([self._outcomes[k][rule_id] for k, rule_id in named])
        patterns, inverse = np.unique(matrix, axis=0, return_inverse=True)
        known = [self._trace(named, pattern.tolist()) for pattern in patterns]
        return [known[position] for position in inverse.ravel().tolist()]

    def _trace(self, named: Sequence[tuple[int, str]], pattern: Sequence[int]) -> tuple[CandidateTrace, ...]:
        def rules(candidate: int, outcome: int) -> tuple[str, ...]:
            pairs = zip(named, pattern, strict=True)
            return tuple(rule_id for (k, rule_id), found in pairs if k == candidate and found == outcome)

        return tuple(
            CandidateTrace(action, rules(k, _PASSED), rules(k, _BLOCKED))
            for k, action in enumerate(self._candidates)
        )
