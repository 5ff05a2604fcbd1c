"""No history of attempts, closings, repeats, crashes and time masks a slot, or opens a round, in two ways."""

import shutil
import tempfile
from datetime import timedelta
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from secure_bench import SecureBench, secure_task
from small_federation import PURPOSE

from client.agent.ledger import Work
from client.agent.secure_runs import SecureRuns
from client.errors import RefusalError
from consent.contract import Closing, RoundManifest, Signed, Unmasking

BRANDS = ("ant", "bee", "cat", "dog")
DELTA = 1e-5
NOISE = 30.0
ROUNDS, ATTEMPTS, SLOTS = 3, 3, 4


@cache
def town() -> SecureBench:
    """A run that is set up among four brands, of which one may fail; closed."""
    bench = SecureBench(Path(tempfile.mkdtemp()), BRANDS, secure_task(colluders=0))
    bench.set_up(bench.setup(colluders=0, slots=SLOTS))
    bench.close()
    return bench


ATTEMPT = st.tuples(
    st.integers(0, ROUNDS - 1), st.integers(0, ATTEMPTS - 1), st.integers(0, SLOTS - 1), st.sampled_from("ab")
)


class Histories(RuleBasedStateMachine):
    """One agent that is sent anything that the coordinator may sign, in any order, and crashes at any time."""

    @initialize()
    def open(self) -> None:
        self.bench = town()
        self.folder = tempfile.TemporaryDirectory()
        self.twin = Path(self.folder.name)
        shutil.copytree(self.bench.first.folder, self.twin / "ant")
        self.now = self.bench.first.now
        self.manifests: dict[str, RoundManifest] = {}
        self.masked: dict[str, bytes] = {}
        self.opened: dict[str, str] = {}
        self.closings: dict[str, Closing] = {}
        self.latest = (-1, -1)
        self.start()

    def start(self) -> None:
        one = self.bench.first
        self.ledger = type(one.agent.ledger)(self.twin / "ant" / "ledger.db", clock=lambda: self.now)
        self.runs = SecureRuns(
            identity=one.agent.identity,
            anchors=one.agent._anchors,
            policy=one.policy,
            ledger=self.ledger,
            clock=lambda: self.now,
        )

    def teardown(self) -> None:
        if hasattr(self, "ledger"):
            self.ledger.close()
            self.folder.cleanup()

    @rule(attempt=ATTEMPT)
    def ask(self, attempt: tuple[int, int, int, str]) -> None:
        """Ask for an attempt at a round, for the first time or again."""
        number, place, slot, model = attempt
        manifest = self.bench.manifest(
            round=number,
            attempt=place,
            model=model * 64,
            secure_sum=self.bench.place(slot=slot),
            opened_at=self.now,
            not_after=self.now + timedelta(hours=1),
        )
        self.manifests[manifest.digest()] = manifest
        self.send(manifest)

    @precondition(lambda self: self.manifests)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        """Deliver any manifest again, however old."""
        self.send(self.manifests[data.draw(st.sampled_from(sorted(self.manifests)))])

    def send(self, manifest: RoundManifest) -> None:
        """Answer as the agent does: what was masked before, or a sum with fresh noise, once every check holds."""
        digest = manifest.digest()
        before = self.runs.masked_before(manifest)
        if before is not None:
            assert before.payload == self.masked[digest]
            return
        asked = manifest.model
        work = Work(PURPOSE, manifest.run_id, manifest.round, asked, NOISE, manifest.not_after)
        known = digest in self.masked
        try:
            self.runs.check_next(manifest, asked)
            line = self.ledger.reserve(work, ceiling=9.0, delta=DELTA)
            noised = np.random.default_rng().integers(-9, 9, 3)
            masked = self.runs.mask(self.bench.agreed, manifest, asked, noised, line)
        except RefusalError:
            return
        assert not known, "a manifest was masked for twice"
        assert (manifest.round, manifest.attempt) > self.latest
        self.latest = (manifest.round, manifest.attempt)
        assert masked.payload is not None
        self.masked[digest] = masked.payload

    @precondition(lambda self: self.manifests)
    @rule(data=st.data(), missing=st.sampled_from([(), ("bee",), ("cat",), ("ant",), ("bee", "cat")]))
    def close(self, data: st.DataObject, missing: tuple[str, ...]) -> None:
        """Close any attempt, for any brands, for the first time or again."""
        digest = data.draw(st.sampled_from(sorted(self.manifests)))
        manifest = self.manifests[digest]
        arrived = [brand for brand in BRANDS if brand not in missing]
        closing = self.bench.closing(manifest, arrived, closed_at=self.now)
        try:
            answer = self.runs.open(self.bench.open_request(closing))
        except RefusalError:
            assert closing.digest() not in self.opened
            return
        assert digest in self.masked
        assert len(missing) <= 1
        assert "ant" not in missing
        assert self.opened.setdefault(closing.digest(), answer) == answer
        self.closings[closing.digest()] = closing
        word = Signed[Unmasking].model_validate_json(answer).body
        assert (set(word.seeds), set(word.keys)) == (set(arrived), set(missing))

    @rule()
    def crash(self) -> None:
        """Lose the process."""
        self.ledger.close()
        self.start()

    @rule(minutes=st.integers(1, 90))
    def wait(self, minutes: int) -> None:
        """Let time pass."""
        self.now += timedelta(minutes=minutes)

    @invariant()
    def a_round_is_opened_in_one_way_and_costs_one_line(self) -> None:
        if not hasattr(self, "ledger"):
            return
        rounds = [closing.round for closing in self.closings.values()]
        assert len(rounds) == len(set(rounds)), "a round was opened in two ways"
        masked = [self.manifests[digest] for digest in self.masked]
        slots = [manifest.secure_sum.slot for manifest in masked if manifest.secure_sum is not None]
        assert len(slots) == len(set(slots)), "a slot was masked twice"
        models = {(manifest.round, manifest.model) for manifest in masked}
        assert len(models) == len({number for number, _ in models}), "a round was masked for two models"
        with self.ledger.transaction() as connection:
            rows = list(connection.exec_driver_sql("SELECT round FROM ledger WHERE state = 'committed'").scalars())
        assert sorted(rows) == sorted({manifest.round for manifest in masked})


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)


def test_the_town_of_the_histories_can_mask_and_open(tmp_path: Path) -> None:
    bench = town().closed_copy(tmp_path)
    manifest = bench.manifest()
    replies = bench.mask(manifest)
    closing = bench.closing(manifest, BRANDS[:3])
    assert bench.total(manifest, closing, replies, bench.unmask(closing).values()).size
    with pytest.raises(RefusalError):
        bench.unmask(bench.closing(manifest, BRANDS), BRANDS[:1])
    bench.close()
