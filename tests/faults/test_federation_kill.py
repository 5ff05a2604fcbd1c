"""A federation that dies anywhere goes on from its folder: nothing is released twice, nothing is overspent."""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from federation_nursery import CRASHED, RUN, Nursery, released
from small_federation import BRANDS, DELTA, EPSILON, PURPOSE, ROUNDS, Watcher, ZeroNoise, open_federation

from privacy.accounting import epsilon
from simulations.federation import Federation
from simulations.logs import log_state

TOTAL_ROUNDS = ROUNDS + 1
KILLS = 8

CRASHES = {
    "after the round is opened": 3,
    "after the ledger reserved": 5,
    "before the ledger commits": 8,
    "after the ledger committed, before the reply": 11,
    "after all replies, before the state is saved": 5,
    "after the state is saved, before the release": 6,
    "after the release": 9,
    "after a brand installed the model": 2,
}
"""Where the process dies, and at which call."""


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    nursery = Nursery()
    yield nursery
    nursery.close()


def kill_somewhere(nursery: Nursery, folder: Path, dice: random.Random) -> int:
    """Start a run, kill it some events and some milliseconds later, and return its exit status."""
    child = nursery.start(folder, noise="system")
    for _ in range(dice.randrange(8)):
        line = nursery.line()
        if line.startswith("ended "):
            return int(line.removeprefix("ended "))
    deadline = time.monotonic() + dice.uniform(0, 0.3)
    while (left := deadline - time.monotonic()) > 0:
        line = nursery.line(left)
        if line.startswith("ended "):
            return int(line.removeprefix("ended "))
    os.kill(child, signal.SIGKILL)
    return nursery.ended()


def check_everything_counted_once(federation: Federation) -> str:
    """Hold a finished run against its plan, and return the digest of its model."""
    federation.publish_log()
    federation.publish_log()
    assert released(federation.folder) == Counter((RUN, number) for number in range(TOTAL_ROUNDS))
    record = federation.officer.run(RUN)
    last = record.releases[-1].body
    for brand, parts in federation.brands.items():
        ledger = parts.agent.ledger
        assert ledger.lines(PURPOSE) == TOTAL_ROUNDS
        assert ledger.epsilon(PURPOSE, DELTA) == pytest.approx(EPSILON, rel=1e-12)
        (budget,) = federation.officer.budgets(brand)
        assert budget.spent == ledger.epsilon(PURPOSE, DELTA)
        assert budget.reserved == 0
        assert budget.noise_multiplier is not None
        assert epsilon([budget.noise_multiplier], DELTA) == pytest.approx(EPSILON, rel=1e-12)
        installed = parts.agent.models.get(PURPOSE)
        assert installed is not None
        assert installed.digest == last.model_after
    assert log_state(federation).verified
    return last.model_after


def test_a_run_killed_at_random_ends_as_if_it_never_died(nursery: Nursery, tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(2**32)
    dice = random.Random(seed)  # noqa: S311 - it chooses where to kill
    statuses = []
    while len(statuses) < KILLS and 0 not in statuses:
        statuses.append(kill_somewhere(nursery, tmp_path, dice))
    assert statuses.count(-signal.SIGKILL) >= 2, f"seed {seed}: {statuses}"
    if 0 not in statuses:
        nursery.start(tmp_path, noise="system")
        statuses.append(nursery.ended())
    assert set(statuses) <= {-signal.SIGKILL, 0}, f"seed {seed}: {statuses}"
    with open_federation(tmp_path) as federation:
        try:
            check_everything_counted_once(federation)
        except AssertionError as error:
            error.add_note(f"seed {seed}, exit statuses {statuses}")
            raise


@pytest.fixture(scope="module")
def undisturbed_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of the model of a run without noise that nothing disturbs."""
    noise: Any = lambda _brand: ZeroNoise()  # noqa: E731 - one argument of one call
    with open_federation(tmp_path_factory.mktemp("undisturbed"), noise=noise) as federation:
        federation.run(RUN, Watcher())
        return check_everything_counted_once(federation)


@pytest.mark.parametrize("point", CRASHES)
def test_a_run_that_dies_at_a_crash_point_ends_in_the_same_model(
    point: str, nursery: Nursery, tmp_path: Path, undisturbed_model: str
) -> None:
    nursery.start(tmp_path, noise="zero", crash=(point, CRASHES[point]))
    assert nursery.ended() == CRASHED
    nursery.start(tmp_path, noise="zero")
    assert nursery.ended() == 0
    with open_federation(tmp_path) as federation:
        assert check_everything_counted_once(federation) == undisturbed_model
        assert set(federation.brands) == set(BRANDS)
