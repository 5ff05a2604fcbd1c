"""No order of reserving, committing, giving back, repeating and crashing of two runs overspends what was approved.

Every order up to a length is tried against a model of the ledger, on both databases; longer histories of secure
sums are drawn, with brands that answer, fail and come back, and a coordinator that claims what it likes.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from ledger_town import BRANDS, COORDINATOR, LedgerTown, Lines, ledger_town
from round_papers import NOISE, PURPOSE
from sqlalchemy import Connection

from consent import errors
from consent.contract import (
    Abandonment,
    Closing,
    EnrolledBrand,
    Mechanism,
    RoundManifest,
    RunSetup,
    SecureSlot,
    Unspent,
)
from consent.service import closings, enrolment, setups, unspent
from consent.service.releases import commit_release
from consent.service.rounds import open_round
from consent.service.work import Unit

RUNS = ("one", "two")
STEP = 10
SHORT, LONG = 5, 1_000
"""Seconds until an attempt is over: before the next act, or after all of them."""
Event = tuple[str, str]
EVENTS: tuple[Event, ...] = tuple(
    (what, run) for run in RUNS for what in ("open", "open for long", "release", "give back")
)


@dataclass(frozen=True)
class Model:
    """What is promised: whatever may have left counts, and a further line only within the ceiling."""

    affordable: int
    states: dict[str, str] = field(default_factory=dict)
    ends: dict[str, int] = field(default_factory=dict)
    """When the last of a run's attempts is over."""

    def refusal(self, event: Event, now: int) -> type[errors.ConsentError] | None:
        what, run = event
        state = self.states.get(run)
        if what.startswith("open"):
            others = [one for name, one in self.states.items() if name != run and one != "expired"]
            if state == "committed":
                return errors.ConflictError
            return errors.BudgetRefusedError if len(others) >= self.affordable else None
        if state is None:
            return errors.NotFoundError
        if what == "release":
            return errors.RoundRefusedError if state == "expired" else None
        refused = state == "committed" or (state == "reserved" and self.ends[run] > now)
        return errors.ConflictError if refused else None

    def after(self, event: Event, now: int) -> "Model":
        what, run = event
        if self.refusal(event, now) is not None:
            return self
        if what.startswith("open"):
            end = max(self.ends.get(run, 0), now + (SHORT if what == "open" else LONG))
            return replace(self, states={**self.states, run: "reserved"}, ends={**self.ends, run: end})
        return replace(self, states={**self.states, run: "committed" if what == "release" else "expired"})


@dataclass
class Walk:
    """A walk through all orders of one brand's rounds."""

    town: LedgerTown
    connection: Connection
    longest: int
    acts: int = 0
    seen: set[str] = field(default_factory=set)

    def go(self, model: Model, asked: dict[str, RoundManifest], length: int = 0) -> None:
        if length == self.longest:
            return
        now = length * STEP
        for event in EVENTS:
            with self.town.unit(self.connection, now, kept=False) as unit:
                opened = self.act(unit, event, model, asked, length)
                self.go(model.after(event, now), opened, length + 1)
            with self.town.unit(self.connection, now, kept=False) as unit:
                assert self.lines(unit) == model.states, "a crash took back more or less than its act"

    def act(
        self, unit: Unit, event: Event, model: Model, asked: dict[str, RoundManifest], length: int
    ) -> dict[str, RoundManifest]:
        what, run = event
        if what.startswith("open"):
            lasts = timedelta(seconds=SHORT if what == "open" else LONG)
            changes = {"run_id": run, "attempt": length, "not_after": unit.now + lasts}
            manifest = self.town.manifest(unit, ("acme",), **changes)
        else:
            manifest = asked.get(run) or self.town.manifest(unit, ("acme",), run_id=run)
        expected = model.refusal(event, length * STEP)
        for _ in range(2):
            self.acts += 1
            assert self.done(unit, what, manifest) is expected, (event, model)
        assert self.lines(unit) == model.after(event, length * STEP).states
        self.seen.add(f"{what}: {expected.code if expected else 'done'}")
        return {**asked, run: manifest} if what.startswith("open") and expected is None else asked

    def done(self, unit: Unit, what: str, manifest: RoundManifest) -> type[errors.ConsentError] | None:
        town, caller = self.town, self.town.callers[COORDINATOR]
        try:
            with unit.session.begin_nested():
                if what.startswith("open"):
                    open_round(unit, caller, town.sealed(manifest))
                elif what == "release":
                    commit_release(unit, caller, town.sealed(town.release(manifest, "acme")))
                else:
                    unspent.expire(unit, town.callers["acme"], _unspent(town, unit, manifest.run_id, "acme"))
        except errors.ConsentError as error:
            unit.session.expire_all()
            return type(error)
        return None

    def lines(self, unit: Unit) -> dict[str, str]:
        lines = self.town.lines(unit)
        self.town.check(lines)
        return {run: state for (run, _, _), state in lines.items()}


def _unspent(town: LedgerTown, unit: Unit, run: str, brand: str) -> Any:
    body = Unspent(brand=brand, run_id=run, round=0, purpose=PURPOSE, stated_at=unit.now)
    return town.sealed(body, brand)


OUTCOMES = {
    "open: done",
    "open: budget_exceeded",
    "open: conflict",
    "open for long: done",
    "open for long: budget_exceeded",
    "open for long: conflict",
    "release: done",
    "release: not_found",
    "release: round_refused",
    "give back: done",
    "give back: not_found",
    "give back: conflict",
}


@pytest.mark.parametrize("longest", [3, pytest.param(4, marks=pytest.mark.slow)])
def test_every_order_keeps_to_the_ceiling(tmp_path: Path, database_url: str, longest: int) -> None:
    with (
        ledger_town(tmp_path, database_url, masked=False, affordable=1) as town,
        town.transaction() as connection,
    ):
        walk = Walk(town, connection, longest)
        walk.go(Model(town.affordable), {})
    assert walk.acts == 2 * sum(len(EVENTS) ** length for length in range(1, longest + 1))
    assert walk.seen == OUTCOMES


Key = tuple[str, int]
CRASHES = st.sampled_from([False, False, False, True])


class Sums(RuleBasedStateMachine):
    """Two runs of secure sums that share a ceiling; brands are honest, the coordinator claims what it likes."""

    town: ClassVar[LedgerTown]

    @initialize()
    def begin(self) -> None:
        self.resources = ExitStack()
        self.connection = self.resources.enter_context(self.town.transaction())
        self.seconds = 0
        self.setups: dict[str, RunSetup] = {}
        self.attempts: list[RoundManifest] = []
        self.answered: set[tuple[str, str]] = set()
        """Brand and attempt of everything that left."""
        self.closed: dict[Key, Closing] = {}
        self.released: set[Key] = set()
        for run in RUNS:
            with self.town.unit(self.connection, 0) as unit:
                self.setups[run] = self._set_up(unit, run)

    def teardown(self) -> None:
        if hasattr(self, "resources"):
            self.resources.close()

    def _attempt(self, data: st.DataObject) -> RoundManifest:
        """Draw an attempt, mostly the last of its round."""
        attempts: list[RoundManifest] = data.draw(
            st.sampled_from([list({one.round: one for one in self.attempts}.values()), self.attempts])
        )
        return data.draw(st.sampled_from(attempts))

    def _set_up(self, unit: Unit, run: str) -> RunSetup:
        caller = self.town.callers[COORDINATOR]
        stated = enrolment.state(unit, caller, BRANDS, validity=timedelta(hours=1))
        setup = RunSetup(
            run_id=run,
            task=self.town.task.digest(),
            purpose=PURPOSE,
            brands=tuple(EnrolledBrand(brand=one, key=self.town.keys[one].public_key) for one in BRANDS),
            dropouts=1,
            colluders=1,
            slots=4_096,
            enrolment=stated,
            opened_at=unit.now,
            not_after=unit.now + timedelta(days=7),
        )
        setups.record(unit, caller, self.town.sealed(setup))
        return setup

    def _try(self, act: Callable[[Unit], None], *, crash: bool = False) -> bool:
        """Do something and repeat it, or crash before it is committed; tell whether it is done."""
        try:
            with self.town.unit(self.connection, self.seconds, kept=not crash) as unit:
                act(unit)
        except errors.ConsentError:
            return False
        if crash:
            return False
        with self.town.unit(self.connection, self.seconds) as unit:
            before = self.town.lines(unit)
            act(unit)
            assert self.town.lines(unit) == before
        return True

    @rule(run=st.sampled_from(RUNS), number=st.integers(0, 1), left_out=st.sampled_from([None, *BRANDS]))
    def open(self, run: str, number: int, left_out: str | None) -> None:
        """Ask all brands, or all but one."""
        brands = tuple(brand for brand in BRANDS if brand != left_out)
        place = SecureSlot(setup=self.setups[run].digest(), slot=len(self.attempts), ring_bits=32)
        noise = Mechanism(name="discrete_gaussian", sensitivity=1.0, noise_multiplier=NOISE, grid=0.001)
        with self.town.unit(self.connection, self.seconds) as unit:
            manifest = self.town.manifest(
                unit,
                brands,
                run_id=run,
                round=number,
                attempt=len(self.attempts),
                secure_sum=place,
                mechanism=noise,
                not_after=unit.now + timedelta(seconds=STEP),
            )
        caller = self.town.callers[COORDINATOR]
        if self._try(lambda unit: open_round(unit, caller, self.town.sealed(manifest))):
            self.attempts.append(manifest)

    @precondition(lambda self: self.attempts)
    @rule(data=st.data(), brand=st.sampled_from(BRANDS))
    def answer(self, data: st.DataObject, brand: str) -> None:
        """Have a brand answer an attempt that asks it, while there is time."""
        manifest = self._attempt(data)
        with self.town.unit(self.connection, self.seconds) as unit:
            if manifest.participant(brand) and manifest.not_after > unit.now:
                self.answered.add((brand, manifest.digest()))

    @precondition(lambda self: self.attempts)
    @rule(data=st.data(), missing=st.sets(st.sampled_from(BRANDS), max_size=1), crash=CRASHES)
    def close(self, data: st.DataObject, missing: set[str], crash: bool) -> None:
        """Claim that these are missing and all others arrived, whatever is true."""
        manifest = self._attempt(data)
        asked = {line.brand for line in manifest.participants}
        missing &= set(sorted(asked)[:-2])
        closing = Closing(
            run_id=manifest.run_id,
            round=manifest.round,
            attempt=manifest.attempt,
            manifest=manifest.digest(),
            arrived=tuple(sorted(asked - missing)),
            missing=tuple(sorted(missing)),
            closed_at=manifest.opened_at,
        )
        caller, key = self.town.callers[COORDINATOR], (manifest.run_id, manifest.round)
        if self._try(lambda unit: closings.close(unit, caller, self.town.sealed(closing)), crash=crash):
            assert self.closed.setdefault(key, closing) == closing, "a round was closed twice"

    @precondition(lambda self: self.attempts and len(self.answered) % 3 == 0)
    @rule(data=st.data())
    def abandon(self, data: st.DataObject) -> None:
        """Give an attempt up."""
        manifest = self._attempt(data)
        abandonment = Abandonment(
            run_id=manifest.run_id,
            round=manifest.round,
            attempt=manifest.attempt,
            manifest=manifest.digest(),
            reason="timed_out",
            abandoned_at=manifest.opened_at,
        )
        caller = self.town.callers[COORDINATOR]
        if self._try(lambda unit: closings.abandon(unit, caller, self.town.sealed(abandonment))):
            assert manifest.digest() not in {one.manifest for one in self.closed.values()}

    @precondition(lambda self: self.attempts)
    @rule(data=st.data(), crash=CRASHES)
    def release(self, data: st.DataObject, crash: bool) -> None:
        """Release an attempt as the last closing says, whether or not it is of that attempt."""
        closed = [one for one in self.attempts if one.digest() in {one.manifest for one in self.closed.values()}]
        manifest = data.draw(st.sampled_from(closed)) if closed else self._attempt(data)
        key = (manifest.run_id, manifest.round)
        closing = self.closed.get(key)
        arrived = closing.arrived if closing else BRANDS[:3]
        changes = {"closing": closing.digest() if closing else None, "noise_shares": len(arrived) / 2}
        release = self.town.release(manifest, *arrived, **changes)
        caller = self.town.callers[COORDINATOR]
        if self._try(lambda unit: commit_release(unit, caller, self.town.sealed(release)), crash=crash):
            assert closing is not None
            assert closing.manifest == manifest.digest()
            self.released.add(key)

    @precondition(lambda self: self.attempts)
    @rule(data=st.data(), brand=st.sampled_from(BRANDS), crash=CRASHES)
    def give_back(self, data: st.DataObject, brand: str, crash: bool) -> None:
        """Have a brand that answered nothing of a round, and will not, say so."""
        asked = self._attempt(data)
        key = (asked.run_id, asked.round)
        attempts = [one for one in self.attempts if (one.run_id, one.round) == key]
        if any((brand, one.digest()) in self.answered for one in attempts):
            return
        body = Unspent(brand=brand, run_id=key[0], round=key[1], purpose=PURPOSE, stated_at=self._now())
        signed = self.town.sealed(body, brand)
        self._try(lambda unit: unspent.expire(unit, self.town.callers[brand], signed), crash=crash)

    def _now(self) -> Any:
        with self.town.unit(self.connection, self.seconds) as unit:
            return unit.now

    @rule()
    def wait(self) -> None:
        """Let time pass."""
        self.seconds += STEP

    def _lines(self) -> Lines:
        with self.town.unit(self.connection, self.seconds) as unit:
            return self.town.lines(unit)

    @invariant()
    def nothing_is_overspent_and_whatever_left_is_counted(self) -> None:
        if not hasattr(self, "connection"):
            return
        lines = self._lines()
        self.town.check(lines)
        of = {manifest.digest(): (manifest.run_id, manifest.round) for manifest in self.attempts}
        for brand, manifest in self.answered:
            assert lines[(*of[manifest], brand)] != "expired", "something left that does not count"
        for key, closing in self.closed.items():
            states = {lines[(*key, brand)] for brand in closing.arrived}
            assert states == ({"committed"} if key in self.released else {"reserved"})


@pytest.fixture(scope="module")
def sums_town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LedgerTown]:
    folder = tmp_path_factory.mktemp("sums")
    with ledger_town(folder, f"sqlite:///{folder / 'consent.db'}", masked=True, affordable=2) as town:
        yield town


def test_histories_of_secure_sums_keep_to_the_ceiling(sums_town: LedgerTown) -> None:
    Sums.town = sums_town
    Sums.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
    Sums.TestCase("runTest").runTest()


def test_the_same_on_postgresql(tmp_path: Path, postgres_url: Callable[[], str]) -> None:
    with ledger_town(tmp_path, postgres_url(), masked=True, affordable=2) as town:
        Sums.town = town
        Sums.TestCase.settings = settings(max_examples=10, stateful_step_count=30, deadline=None)
        Sums.TestCase("runTest").runTest()
