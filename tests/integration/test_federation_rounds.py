"""Whole federations in one process: who is in each round's sums, what a run costs, and what repeats."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from small_federation import (
    BRANDS,
    DELTA,
    EPSILON,
    PURPOSE,
    ROUNDS,
    Watcher,
    ZeroNoise,
    choose,
    open_federation,
    small_table,
    small_task,
)

from client.features import CustomerTable
from client.features.encoding import cells
from client.port import RoundReply, RoundRequest
from client.training import Contribution, Trainer
from consent.contract import Act, RoundManifest, Signed
from consent.contract.plan import solver_for
from consent.errors import BudgetRefusedError, CohortTooSmallError
from privacy.randomness import SeededNoise
from privacy.solvers import Query
from simulations.federation import Federation
from simulations.logs import log_state

TASK = small_task()
SOLVER = solver_for(TASK)
RUN = "run-1"
BRAND = "bee"


class Tap:
    """Listens to what one agent is asked and what it releases."""

    def __init__(self, federation: Federation, brand: str) -> None:
        self.rounds: list[tuple[RoundManifest, Query, NDArray[np.int64]]] = []
        agent = federation.brands[brand].agent
        release = agent.release

        def listen(request: RoundRequest) -> RoundReply:
            reply = release(request)
            manifest = Signed[RoundManifest].model_validate_json(request.manifest).body
            self.rounds.append((manifest, Query.from_arrays(request.arrays), reply.total))
            return reply

        agent.release = listen  # type: ignore[method-assign]


def exact(table: CustomerTable, query: Query) -> NDArray[np.int64]:
    """Return the noiseless sum over a table, in grid steps."""
    assert table.labels is not None
    people = Contribution(cells(table, TASK.features, TASK.solver.cells), table.labels)
    name = hashlib.sha256(repr(table.customers).encode()).hexdigest()
    return SOLVER.mechanism(query.marginals).to_grid(Trainer(SOLVER).exact_sum(query, people, cohort=name))


def without(table: CustomerTable, *customers: str) -> CustomerTable:
    return table.select(np.array([name not in customers for name in table.customers]))


@pytest.fixture
def noiseless(tmp_path: Path) -> Iterator[Federation]:
    """A federation whose released sums a test can read exactly."""
    with open_federation(tmp_path, noise=lambda _brand: ZeroNoise()) as federation:
        yield federation


@pytest.mark.parametrize("at_round", [0, 3])
def test_who_withdraws_after_a_round_was_opened_is_not_in_it(noiseless: Federation, at_round: int) -> None:
    leaving = small_table(BRAND).customers[11]

    def withdraw(manifest: RoundManifest) -> None:
        if (manifest.round, manifest.attempt) == (at_round, 0):
            choose(noiseless, BRAND, Act.WITHDRAW, leaving)

    tap = Tap(noiseless, BRAND)
    watcher = Watcher(on_opened=withdraw)
    noiseless.run(RUN, watcher)
    asked = [
        (one.attempt, tuple(line.brand for line in one.participants))
        for one in watcher.manifests
        if one.round == at_round
    ]
    assert asked == [(0, BRANDS), (1, (BRAND,))]
    everyone, remaining = small_table(BRAND), without(small_table(BRAND), leaving)
    for manifest, query, total in tap.rounds:
        used = everyone if manifest.round < at_round else remaining
        np.testing.assert_array_equal(total, exact(used, query), err_msg=f"round {manifest.round}")
    (pseudonym,) = noiseless.brands[BRAND].pseudonymizer.pseudonyms([leaving])
    taken_part = [one.round for one in noiseless.officer.participation(BRAND, pseudonym) if one.released]
    assert taken_part == list(range(at_round))
    ledger = noiseless.brands[BRAND].agent.ledger
    assert ledger.lines(PURPOSE) == ROUNDS + 1
    assert ledger.epsilon(PURPOSE, DELTA) == pytest.approx(EPSILON, rel=1e-12)


def test_who_withdraws_grants_and_withdraws_again_is_out(noiseless: Federation) -> None:
    fickle = small_table(BRAND).customers[3]
    acts = {1: Act.WITHDRAW, 3: Act.GRANT, 5: Act.WITHDRAW, 7: Act.GRANT}

    def change_mind(manifest: RoundManifest) -> None:
        if manifest.round in acts and manifest.attempt == 0:
            choose(noiseless, BRAND, acts[manifest.round], fickle)

    tap = Tap(noiseless, BRAND)
    noiseless.run(RUN, Watcher(on_opened=change_mind))
    for manifest, query, total in tap.rounds:
        is_out = manifest.round in (1, 2, 5, 6)
        used = without(small_table(BRAND), fickle) if is_out else small_table(BRAND)
        np.testing.assert_array_equal(total, exact(used, query), err_msg=f"round {manifest.round}")


def test_the_same_choices_on_the_same_occasion_count_once(noiseless: Federation) -> None:
    def entries() -> int:
        noiseless.publish_log()
        return int(noiseless.officer.checkpoint().splitlines()[1])

    customer = small_table(BRAND).customers[0]
    before = entries()
    for _ in range(2):
        choose(noiseless, BRAND, Act.WITHDRAW, customer, occasion="call of 2 November")
    assert entries() == before + 1
    for _ in range(2):
        choose(noiseless, BRAND, Act.WITHDRAW, customer)
    assert entries() == before + 3


def test_a_second_run_of_a_spent_task_is_refused_before_anyone_is_asked(noiseless: Federation) -> None:
    noiseless.run(RUN, Watcher())
    watcher = Watcher()
    with pytest.raises(BudgetRefusedError, match="over the ceiling"):
        noiseless.run("run-2", watcher)
    assert watcher.manifests == []
    assert noiseless.brands[BRAND].agent.ledger.lines(PURPOSE) == ROUNDS + 1


def test_a_brand_under_the_minimum_cohort_stops_the_round_before_anyone_is_asked(tmp_path: Path) -> None:
    tables = {brand: small_table(brand, customers=19 if brand == BRAND else 30) for brand in BRANDS}
    with open_federation(tmp_path, tables=tables) as federation:
        watcher = Watcher()
        with pytest.raises(CohortTooSmallError, match=BRAND):
            federation.run(RUN, watcher)
        assert watcher.manifests == []


def test_seeded_runs_agree_bit_for_bit_and_say_so_in_every_attestation(tmp_path: Path) -> None:
    models = []
    for folder in ("first", "second"):
        noise = {brand: SeededNoise(position) for position, brand in enumerate(BRANDS)}
        with open_federation(tmp_path / folder, noise=noise.get) as federation:
            watcher = Watcher()
            federation.run(RUN, watcher)
            assert log_state(federation).verified
        models.append(watcher.releases[-1].model_after)
        words = [signed.body for release in watcher.releases for signed in release.attestations]
        assert {word.noise for word in words} == {"seeded"}
    assert models[0] == models[1]


def test_unseeded_runs_differ_and_carry_the_systems_noise(tmp_path: Path) -> None:
    models = set()
    task = small_task(solver=TASK.solver.model_copy(update={"rounds": 2}))
    for folder in ("first", "second"):
        with open_federation(tmp_path / folder, task=task) as federation:
            watcher = Watcher()
            federation.run(RUN, watcher)
        models.add(watcher.releases[-1].model_after)
        assert {signed.body.noise for release in watcher.releases for signed in release.attestations} == {"system"}
    assert len(models) == 2
