"""Deciding the next best action for a batch of customers."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from client.decisions.catalogue import NO_ACTION, Action
from client.decisions.gate import ConsentGate
from client.decisions.holdout import Holdout
from client.decisions.journal import DecisionJournal
from client.decisions.policy import DecisionPolicy
from client.decisions.randomness import Uniforms, os_uniforms
from client.decisions.record import CandidateTrace, NextAction
from client.decisions.rules import RuleBoard
from client.errors import DecisionError
from client.features import CustomerTable
from consent.contract import Channel, Decision, DecisionQuery


@dataclass(frozen=True, eq=False)
class DecisionBatch:
    """Customers to decide for, each once, with the model's calibrated propensities.

    Args:
        table: features, for eligibility rules.
        propensities: (n,) calibrated probability of converting, between 0 and 1.
        model: digest of the model that gave them.
        responsiveness: how a customer answers on a channel, a factor or one per customer; 1 where absent.
        merged: for customers with several user ids, all of them; consent must hold for each.
        zones: each customer's IANA time zone, where it is known.
    """

    table: CustomerTable
    propensities: NDArray[np.float64]
    model: str
    responsiveness: Mapping[Channel, NDArray[np.float64] | float] = field(default_factory=dict)
    merged: Mapping[str, Sequence[str]] = field(default_factory=dict)
    zones: Sequence[str | None] | None = None

    def __post_init__(self) -> None:
        """Refuse a batch whose parts do not fit each other."""
        n = len(self.table)
        if len(set(self.table.customers)) != n:
            raise DecisionError("A batch names a customer twice; caps could not be held within it.")
        if self.propensities.shape != (n,) or (self.zones is not None and len(self.zones) != n):
            raise DecisionError("A batch needs one propensity, and one zone if any, for each customer.")
        if not np.all((self.propensities >= 0) & (self.propensities <= 1)):
            raise DecisionError("Propensities must be probabilities between 0 and 1.")


class DecisionEngine:
    """Decides under one policy; every decision is in the journal before it is returned."""

    def __init__(
        self,
        *,
        policy: DecisionPolicy,
        catalogue: Sequence[Action],
        gate: ConsentGate,
        holdout: Holdout,
        pseudonym: Callable[[str], str],
        journal: DecisionJournal,
        stopped: Callable[[], bool],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        uniforms: Uniforms = os_uniforms,
        tokens: Callable[[], str] = lambda: secrets.token_hex(16),
    ) -> None:
        """Assemble the engine.

        Args:
            policy: caps, quiet hours, exploration and purpose.
            catalogue: the approved actions; "no action" is always added.
            gate: answers for purpose and channel.
            holdout: who is never treated.
            pseudonym: maps a customer id to the pseudonym that the consent service knows.
            journal: where decisions are written and sends are counted.
            stopped: the kill switch; true stops all sends.
            clock: the time, with a zone.
            uniforms: draws for exploration.
            tokens: makes decision ids.
        """
        if len({action.action_id for action in catalogue}) != len(catalogue):
            raise DecisionError("The catalogue names an action twice.")
        self._policy, self._catalogue, self._gate, self._holdout = policy, tuple(catalogue), gate, holdout
        self._pseudonym, self._journal, self._stopped = pseudonym, journal, stopped
        self._clock, self._uniforms, self._tokens = clock, uniforms, tokens

    def decide(self, batch: DecisionBatch) -> tuple[NextAction, ...]:
        """Decide for every customer of the batch, in its order.

        Raises:
            DecisionError: the catalogue's rules or the gate's answers do not fit; nothing was sent.
        """
        if not len(batch.table):
            return ()
        with self._journal.turn():
            decisions = self._decide(batch)
            self._journal.append(decisions)
        return decisions

    def _decide(self, batch: DecisionBatch) -> tuple[NextAction, ...]:
        now = self._clock()
        subjects = [self._pseudonym(customer) for customer in batch.table.customers]
        board = RuleBoard(len(subjects), [action.action_id for action in self._catalogue])
        held_out = self._holdout.members(batch.table.customers)
        self._apply_rules(board, batch, subjects, held_out, now)
        indices = self._ask_consent(board, batch)
        board.check_all("kill-switch", np.full(len(subjects), not self._stopped()))
        scores = self._scores(batch)
        admitted = np.column_stack([np.ones(len(subjects), dtype=np.bool_), board.admitted()])
        chances = self._policy.exploration.probabilities(scores, admitted)
        drawn = _draw(chances, self._uniforms(len(subjects)))
        return self._records(
            batch,
            subjects=subjects,
            held_out=held_out,
            traces=board.traces(),
            indices=indices,
            scores=scores,
            chances=chances,
            drawn=drawn,
            now=now,
        )

    def _apply_rules(
        self,
        board: RuleBoard,
        batch: DecisionBatch,
        subjects: Sequence[str],
        held_out: NDArray[np.bool_],
        now: datetime,
    ) -> None:
        board.check_all("holdout", ~held_out)
        for k, action in enumerate(self._catalogue):
            for rule in action.rules:
                board.check(k, rule.rule_id, rule.admits(batch.table))
        quiet_hours = self._policy.quiet_hours
        if quiet_hours is not None:
            loud = ~quiet_hours.quiet(now, batch.zones or [None] * len(subjects))
            for k, action in enumerate(self._catalogue):
                if action.channel in quiet_hours.channels:
                    board.check(k, quiet_hours.rule_id, loud)
        for cap in self._policy.caps:
            below = self._journal.sends(subjects, cap, now) < cap.limit
            for k, action in enumerate(self._catalogue):
                if cap.covers(action.channel):
                    board.check(k, cap.rule_id, below)

    def _ask_consent(self, board: RuleBoard, batch: DecisionBatch) -> NDArray[np.int64]:
        """Ask for purpose and channel, only where a send is still possible; return the log indices."""
        indices = np.full((len(batch.table), len(self._catalogue)), -1, dtype=np.int64)
        possible = board.admitted()
        for channel in sorted({action.channel for action in self._catalogue}):
            actions = [k for k, action in enumerate(self._catalogue) if action.channel == channel]
            rows = np.flatnonzero(possible[:, actions].any(axis=1))
            answers = self._answers([batch.table.customers[i] for i in rows], batch.merged, channel)
            reasons = np.array([_rule_of(answer) for answer in answers], dtype=object)
            allowed = np.array([_proven(answer) for answer in answers], dtype=np.bool_)
            found = np.array([answer.log_index or 0 for answer in answers], dtype=np.int64)
            for k in actions:
                board.check_some(k, rows, reasons, allowed)
                indices[rows, k] = np.where(allowed, found, -1)
        return indices

    def _answers(
        self, customers: Sequence[str], merged: Mapping[str, Sequence[str]], channel: Channel
    ) -> list[Decision]:
        """Return the strictest answer over each customer's user ids."""
        groups = [tuple(dict.fromkeys((customer, *merged.get(customer, ())))) for customer in customers]
        queries = [
            DecisionQuery(
                brand=self._policy.brand,
                subject=self._pseudonym(user),
                purpose=self._policy.purpose,
                channel=channel,
            )
            for group in groups
            for user in group
        ]
        decisions = list(self._gate.allowed(queries)) if queries else []
        if len(decisions) != len(queries):
            raise DecisionError("The consent gate did not answer every query; nothing was sent.")
        answers, start = [], 0
        for group in groups:
            of_group = decisions[start : start + len(group)]
            answers.append(next((d for d in of_group if not _proven(d)), of_group[0]))
            start += len(group)
        return answers

    def _scores(self, batch: DecisionBatch) -> NDArray[np.float64]:
        columns = [np.zeros(len(batch.table))]
        for action in self._catalogue:
            factor = batch.responsiveness.get(action.channel, 1.0)
            columns.append(batch.propensities * action.value * factor - action.cost)
        scores = np.column_stack(columns)
        if not np.isfinite(scores).all():
            raise DecisionError("A channel's responsiveness is not finite; nothing was sent.")
        return scores

    def _records(
        self,
        batch: DecisionBatch,
        *,
        subjects: Sequence[str],
        held_out: NDArray[np.bool_],
        traces: Sequence[tuple[CandidateTrace, ...]],
        indices: NDArray[np.int64],
        scores: NDArray[np.float64],
        chances: NDArray[np.float64],
        drawn: NDArray[np.intp],
        now: datetime,
    ) -> tuple[NextAction, ...]:
        names = (NO_ACTION, *(action.action_id for action in self._catalogue))
        records = []
        for i, (row, choice) in enumerate(zip(chances.tolist(), drawn.tolist(), strict=True)):
            records.append(
                NextAction(
                    decision_id=self._tokens(),
                    subject=subjects[i],
                    action=self._catalogue[choice - 1] if choice else None,
                    score=float(scores[i, choice]),
                    propensity=row[choice],
                    propensities={name: p for name, p in zip(names, row, strict=True) if p > 0},
                    holdout=bool(held_out[i]),
                    candidates=traces[i],
                    consent_log_index=int(indices[i, choice - 1]) if choice else None,
                    model=batch.model,
                    decided_at=now,
                )
            )
        return tuple(records)


def _draw(chances: NDArray[np.float64], uniforms: NDArray[np.float64]) -> NDArray[np.intp]:
    """Draw one column per row; rounding never lets a column without a chance be drawn."""
    edges = np.cumsum(chances, axis=1)
    drawn = np.sum(uniforms[:, None] * edges[:, -1:] >= edges, axis=1)
    last = chances.shape[1] - 1 - np.argmax(chances[:, ::-1] > 0, axis=1)
    columns: NDArray[np.intp] = np.minimum(drawn, last)
    return columns


def _proven(answer: Decision) -> bool:
    return answer.allowed and answer.log_index is not None


def _rule_of(answer: Decision) -> str:
    if answer.allowed and answer.log_index is None:
        return "consent:no-log-index"
    return f"consent:{answer.reason.value}"
