"""No interleaving of reserving, committing, repeating, superseding and crashing overspends or pays twice."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from client.agent.ledger import BrandLedger, LedgerLine, Work
from client.errors import LedgerRefusalError
from privacy.accounting import epsilon

PURPOSES = ("conversion", "churn")
DELTA = 1e-6
CEILING = 0.9
NOISES = {"run-1": 15.0, "run-2": 25.0, "run-3": 15.0}

WORK = st.builds(
    lambda run, number, form: Work(
        PURPOSES[run == "run-3"], run, number, form * 64, NOISES[run] * (1 + (form == "b"))
    ),
    st.sampled_from(sorted(NOISES)),
    st.integers(0, 2),
    st.sampled_from("ab"),
)


class Ledgers(RuleBasedStateMachine):
    """One ledger file, agents that come and go, and a model of what each work item released."""

    @initialize()
    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "ledger.db"
        self.ledger = BrandLedger(self.path)
        self.held: list[tuple[Work, LedgerLine]] = []
        self.released: dict[Work, bytes] = {}
        self.reserved: dict[tuple[str, int], Work] = {}
        self.payloads = 0

    def teardown(self) -> None:
        if hasattr(self, "ledger"):
            self.ledger.close()
            self.folder.cleanup()

    def counted(self, purpose: str) -> list[float]:
        lines = [*self.released, *self.reserved.values()]
        return [work.noise_multiplier for work in lines if work.purpose == purpose]

    @rule(work=WORK)
    def reserve(self, work: Work) -> None:
        """Ask for a release; the model says whether it must be granted."""
        key = (work.run_id, work.round)
        known = work in self.released or self.reserved.get(key) == work
        if not known:
            self.model_reserve(work, key)
            return
        line = self.ledger.reserve(work, ceiling=CEILING, delta=DELTA)
        assert line.payload == self.released.get(work)
        self.held.append((work, line))

    def model_reserve(self, work: Work, key: tuple[str, int]) -> None:
        others = [one for place, one in self.reserved.items() if place != key]
        lines = [*self.released, *others]
        cost = [one.noise_multiplier for one in lines if one.purpose == work.purpose]
        if epsilon([*cost, work.noise_multiplier], DELTA) > CEILING:
            with pytest.raises(LedgerRefusalError):
                self.ledger.reserve(work, ceiling=CEILING, delta=DELTA)
            return
        self.held.append((work, self.ledger.reserve(work, ceiling=CEILING, delta=DELTA)))
        self.reserved[key] = work

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def commit(self, data: st.DataObject) -> None:
        """Commit any line that some agent holds, however old: a late or repeated delivery."""
        work, line = data.draw(st.sampled_from(self.held))
        self.payloads += 1
        payload = f"payload {self.payloads}".encode()
        key = (work.run_id, work.round)
        if work in self.released:
            assert self.ledger.commit(line, payload).released() == self.released[work]
        elif self.reserved.get(key) == work:
            assert self.ledger.commit(line, payload).released() == payload
            self.released[work] = payload
            del self.reserved[key]
        else:
            with pytest.raises(LedgerRefusalError, match="superseded"):
                self.ledger.commit(line, payload)

    @rule(forget=st.booleans())
    def crash(self, forget: bool) -> None:
        """Lose the process; a new one reads the file, and perhaps an old thread still holds its lines."""
        self.ledger.close()
        self.ledger = BrandLedger(self.path)
        if forget:
            self.held.clear()

    @rule(work=WORK)
    def find(self, work: Work) -> None:
        """Look a release up."""
        line = self.ledger.find_committed(work)
        assert (line.payload if line else None) == self.released.get(work)

    @invariant()
    def nothing_is_overspent_or_counted_twice(self) -> None:
        if not hasattr(self, "ledger"):
            return
        for purpose in PURPOSES:
            expected = self.counted(purpose)
            assert self.ledger.lines(purpose) == len(expected)
            spent = self.ledger.epsilon(purpose, DELTA)
            assert spent == pytest.approx(epsilon(expected, DELTA), rel=1e-12)
            assert spent <= CEILING * (1 + 1e-9)


TestLedgers = Ledgers.TestCase
TestLedgers.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
