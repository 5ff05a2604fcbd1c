"""The brand's decision journal: every decision, and the sends that frequency caps count."""

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from datetime import datetime
from threading import RLock

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from client.decisions.catalogue import NO_ACTION
from client.decisions.policy import FrequencyCap
from client.decisions.record import CandidateTrace, NextAction
from client.identity import utc_naive

_SCHEMA = """
    CREATE TABLE IF NOT EXISTS decisions (
        decision_id VARCHAR, subject VARCHAR, action_id VARCHAR, channel VARCHAR, score DOUBLE,
        propensity DOUBLE, propensities JSON, holdout BOOLEAN, candidates JSON, consent_log_index BIGINT,
        model VARCHAR, decided_at TIMESTAMP);
"""


class DecisionJournal:
    """Decisions in a DuckDB database, shared by all campaigns of a brand: caps hold across them."""

    def __init__(self, connection: duckdb.DuckDBPyConnection | None = None) -> None:
        """Open the journal beside the events, or in memory."""
        self._connection = connection or duckdb.connect()
        self._connection.execute(_SCHEMA)
        self._turn = RLock()

    def turn(self) -> AbstractContextManager[bool]:
        """Hold while sends are counted and decided: no other campaign decides in between."""
        return self._turn

    def count(self) -> int:
        """Return how many decisions are written down."""
        return int(self._connection.execute("SELECT count(*) FROM decisions").fetchall()[0][0])

    def append(self, decisions: Sequence[NextAction]) -> None:
        """Write decisions down, all or none."""
        table = _table(decisions)
        self._connection.register("new_decisions", table)
        try:
            self._connection.execute(
                """INSERT INTO decisions SELECT * REPLACE (propensities::JSON AS propensities,
                                                          candidates::JSON AS candidates) FROM new_decisions"""
            )
        finally:
            self._connection.unregister("new_decisions")

    def sends(self, subjects: Sequence[str], cap: FrequencyCap, now: datetime) -> NDArray[np.int64]:
        """Count each subject's sends that share some window of the cap with `now`, the future included."""
        rows = self._connection.execute(
            """SELECT subject, count(*) FROM decisions
               WHERE action_id <> $none AND ($channel::VARCHAR IS NULL OR channel = $channel)
                 AND decided_at > $start AND decided_at < $end GROUP BY subject""",
            {
                "none": NO_ACTION,
                "channel": cap.channel,
                "start": utc_naive(now - cap.window),
                "end": utc_naive(now + cap.window),
            },
        ).fetchall()
        counts = dict(rows)
        return np.fromiter((counts.get(s, 0) for s in subjects), dtype=np.int64, count=len(subjects))


def _table(decisions: Sequence[NextAction]) -> pa.Table:
    known: dict[tuple[CandidateTrace, ...], str] = {}

    def traces(candidates: tuple[CandidateTrace, ...]) -> str:
        if candidates not in known:
            known[candidates] = json.dumps([asdict(trace) for trace in candidates])
        return known[candidates]

    return pa.table(
        {
            "decision_id": [d.decision_id for d in decisions],
            "subject": [d.subject for d in decisions],
            "action_id": [d.action.action_id if d.action else NO_ACTION for d in decisions],
            "channel": pa.array([str(d.action.channel) if d.action else None for d in decisions], pa.string()),
            "score": [d.score for d in decisions],
            "propensity": [d.propensity for d in decisions],
            "propensities": [json.dumps(dict(d.propensities)) for d in decisions],
            "holdout": [d.holdout for d in decisions],
            "candidates": [traces(d.candidates) for d in decisions],
            "consent_log_index": pa.array([d.consent_log_index for d in decisions], pa.int64()),
            "model": [d.model for d in decisions],
            "decided_at": pa.array([utc_naive(d.decided_at) for d in decisions], pa.timestamp("us")),
        }
    )
