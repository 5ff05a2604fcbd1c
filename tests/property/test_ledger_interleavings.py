"""No order of reserving, committing, repeating, superseding, expiring and crashing overspends or pays twice."""

import itertools
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from depth import examples
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from client.agent.ledger import BrandLedger, LedgerLine, Unused, Work
from client.errors import LedgerRefusalError, StaleRoundError
from privacy.accounting import epsilon

PURPOSES = ("conversion", "churn")
DELTA = 1e-6
CEILING = 0.9
NOISES = {"run-1": 15.0, "run-2": 25.0, "run-3": 15.0, "masked": 15.0}
BEGIN = datetime(2026, 11, 2, tzinfo=UTC)


@dataclass(frozen=True, order=True)
class Form:
    """One form of a round: what a line is of."""

    run: str
    round: int
    form: str

    @property
    def purpose(self) -> str:
        return PURPOSES[self.run == "run-3"]

    @property
    def noise(self) -> float:
        return NOISES[self.run] * (1 + (self.form == "b"))


@dataclass
class Line:
    """What the model knows of a line; `until` is in hours."""

    state: str
    until: int
    stated: bool = False
    payload: bytes | None = None


FORMS = st.builds(
    lambda run, number, form: Form(run, number, "a" if run == "masked" else form),
    st.sampled_from(sorted(NOISES)),
    st.integers(0, 2),
    st.sampled_from("ab"),
)
HOURS = st.integers(0, 3)


class Ledgers(RuleBasedStateMachine):
    """One ledger file, agents that come and go, a clock, and a model of every line."""

    @initialize()
    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "ledger.db"
        self.hour = 0
        self.ledger = self.opened()
        self.held: list[tuple[Form, LedgerLine]] = []
        self.lines: dict[Form, Line] = {}
        self.payloads = 0

    def opened(self) -> BrandLedger:
        return BrandLedger(self.path, clock=lambda: BEGIN + timedelta(hours=self.hour))

    def teardown(self) -> None:
        if hasattr(self, "ledger"):
            self.ledger.close()
            self.folder.cleanup()

    def pass_time(self, hours: int) -> None:
        """Let time pass, in the model alone: the ledger notices it at what it does next."""
        self.hour += hours
        for line in self.lines.values():
            if line.state == "reserved" and line.until < self.hour:
                line.state = "expired"

    def costs(self, purpose: str, without: Form | None = None) -> list[float]:
        """Return what counts; without what a form would supersede."""
        return [
            form.noise
            for form, line in self.lines.items()
            if form.purpose == purpose
            and (
                line.state == "committed"
                or (
                    line.state == "reserved"
                    and (without is None or (form.run, form.round) != (without.run, without.round))
                )
            )
        ]

    @rule(form=FORMS, hours=HOURS, lasting=HOURS)
    def reserve(self, form: Form, hours: int, lasting: int) -> None:
        """Ask for a release; the model says whether it must be granted."""
        self.pass_time(hours)
        until = self.hour + lasting
        not_after = BEGIN + timedelta(hours=until)
        work = Work(form.purpose, form.run, form.round, form.form * 64, form.noise, not_after)
        known = self.lines.get(form)
        counts = known is not None and known.state in ("reserved", "committed")
        if not counts and epsilon([*self.costs(form.purpose, form), form.noise], DELTA) > CEILING:
            with pytest.raises(LedgerRefusalError):
                self.ledger.reserve(work, ceiling=CEILING, delta=DELTA)
            return
        line = self.ledger.reserve(work, ceiling=CEILING, delta=DELTA)
        self.held.append((form, line))
        if known is not None and counts:
            assert line.payload == known.payload
            known.until = until
            return
        for other, one in self.lines.items():
            if (other.run, other.round) == (form.run, form.round) and one.state == "reserved":
                one.state = "superseded"
        self.lines[form] = Line("reserved", until)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), hours=HOURS)
    def commit(self, data: st.DataObject, hours: int) -> None:
        """Commit any line that some agent holds, however old: a late or repeated delivery."""
        form, held = data.draw(st.sampled_from(self.held))
        self.pass_time(hours)
        self.payloads += 1
        payload = f"payload {self.payloads}".encode()
        line = self.lines[form]
        if line.state in ("superseded", "expired"):
            error = LedgerRefusalError if line.state == "superseded" else StaleRoundError
            with pytest.raises(error, match=line.state):
                self.committed(form, held, payload)
            return
        first = line.state == "reserved"
        line.state = "committed"
        if form.run == "masked":
            self.committed(form, held, payload)
            return
        line.payload = payload if first else line.payload
        assert self.committed(form, held, payload) == line.payload

    def committed(self, form: Form, held: LedgerLine, payload: bytes) -> bytes | None:
        if form.run != "masked":
            return self.ledger.commit(held, payload).released()
        with self.ledger.committing(held):
            return None

    @rule(forget=st.booleans())
    def crash(self, forget: bool) -> None:
        """Lose the process; a new one reads the file, and perhaps an old thread still holds its lines."""
        self.ledger.close()
        self.ledger = self.opened()
        if forget:
            self.held.clear()

    @rule(form=FORMS)
    def find(self, form: Form) -> None:
        """Look a release up."""
        work = Work(form.purpose, form.run, form.round, form.form * 64, form.noise)
        line = self.ledger.find_committed(work)
        known = self.lines.get(form)
        assert (line is not None) == (known is not None and known.state == "committed")
        assert line is None or known is None or line.payload == known.payload

    @rule(data=st.data(), hours=HOURS)
    def state_unused(self, data: st.DataObject, hours: int) -> None:
        """Ask what came to nothing, and state some of it."""
        self.pass_time(hours)
        unused = self.unused()
        assert set(self.ledger.unused()) == unused
        if unused:
            one = data.draw(st.sampled_from(sorted(unused)))
            self.ledger.stated(one)
            for form, line in self.lines.items():
                if (form.run, form.round) == (one.run_id, one.round) and line.state == "expired":
                    line.stated = True

    def unused(self) -> set[Unused]:
        counts = {
            (form.run, form.round) for form, line in self.lines.items() if line.state in ("reserved", "committed")
        }
        return {
            Unused(form.run, form.round, form.purpose)
            for form, line in self.lines.items()
            if line.state == "expired" and not line.stated and (form.run, form.round) not in counts
        }

    @invariant()
    def nothing_is_overspent_or_counted_twice(self) -> None:
        if not hasattr(self, "ledger"):
            return
        self.ledger.unused()
        for purpose in PURPOSES:
            expected = self.costs(purpose)
            assert self.ledger.lines(purpose) == len(expected)
            spent = self.ledger.epsilon(purpose, DELTA)
            assert spent == pytest.approx(epsilon(expected, DELTA), rel=1e-12)
            assert spent <= CEILING * (1 + 1e-9)


TestLedgers = Ledgers.TestCase
TestLedgers.settings = settings(max_examples=examples(8, 20), stateful_step_count=25, deadline=None)


class Small:
    """A ledger in which a population has room for one of two runs; what an agent of each holds, and what left."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.hour = 0
        self.ledger = self.opened()
        self.begin("nobody")

    def opened(self) -> BrandLedger:
        return BrandLedger(self.path, clock=lambda: BEGIN + timedelta(hours=self.hour))

    def begin(self, population: str) -> None:
        """Go on to a population of which nothing was spent."""
        self.population = population
        self.held: dict[str, LedgerLine] = {}
        self.left: dict[str, bytes] = {}

    def reserve(self, run: str) -> None:
        until = BEGIN + timedelta(hours=self.hour, minutes=30)
        work = Work(self.population, f"{run}-{self.population}", 0, "a" * 64, 15.0, until)
        self.held[run] = self.ledger.reserve(work, ceiling=epsilon([15.0], DELTA), delta=DELTA)

    def commit(self, run: str) -> None:
        if run in self.held:
            left = self.ledger.commit(self.held[run], f"{run} {len(self.left)}".encode()).released()
            assert self.left.setdefault(run, left) == left

    def act(self, action: str) -> None:
        """Do one thing; a refusal changes nothing."""
        kind, _, run = action.partition(" ")
        try:
            if kind == "reserve":
                self.reserve(run)
            elif kind == "commit":
                self.commit(run)
            elif kind == "wait":
                self.hour += 1
            else:
                self.ledger.close()
                self.ledger = self.opened()
        except (LedgerRefusalError, StaleRoundError):
            return


ACTIONS = ("reserve one", "reserve two", "commit one", "commit two", "wait", "crash")


@pytest.mark.slow
def test_every_short_history_of_two_runs_releases_one_sum_at_most(tmp_path: Path) -> None:
    small = Small(tmp_path / "ledger.db")
    released = 0
    for number, actions in enumerate(itertools.product(ACTIONS, repeat=4)):
        small.begin(f"population-{number}")
        for action in ("reserve one", *actions):
            small.act(action)
        assert len(small.left) <= 1, actions
        assert small.ledger.lines(small.population) <= 1, actions
        released += len(small.left)
    assert 0 < released < len(ACTIONS) ** 4
    small.ledger.close()
