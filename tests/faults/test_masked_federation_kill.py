"""Federations under the secure sum in real processes, killed at every durable step: nothing is spent twice."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from federation_nursery import CRASHED, RUN, Nursery, released
from small_federation import DELTA, PURPOSE, Watcher, ZeroNoise, open_federation, secure_task

from privacy.accounting import epsilon
from simulations.federation import Federation
from simulations.logs import log_state

TASK = secure_task()

CRASHES = {
    "after the setup is kept": 1,
    "after the setup is recorded": 1,
    "after a brand joined": 2,
    "after a brand dealt its shares": 2,
    "after a brand kept its shares": 2,
    "after an attempt is opened": 2,
    "after a sum arrived": 5,
    "before the sums are kept": 4,
    "after the sums are kept": 4,
    "after the closing is recorded": 2,
    "after a brand helped to open": 5,
    "after the sum is open": 2,
    "after the state is saved, before the release": 3,
}
"""Where the process dies, and at which call."""


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    nursery = Nursery()
    yield nursery
    nursery.close()


def check_everything_counted_once(federation: Federation) -> str:
    """Hold a finished run against its plan, and return the digest of its model."""
    federation.publish_log()
    federation.publish_log()
    assert released(federation.folder) == Counter((RUN, number) for number in range(TASK.total_rounds))
    record = federation.officer.run(RUN)
    assert [one.body.round for one in record.closings] == list(range(TASK.total_rounds))
    slots = [one.body.secure_sum.slot for one in record.manifests if one.body.secure_sum is not None]
    assert len(set(slots)) == len(slots) == len(record.manifests)
    for brand, parts in federation.brands.items():
        ledger = parts.agent.ledger
        assert ledger.lines(PURPOSE) == TASK.total_rounds
        (budget,) = federation.officer.budgets(brand)
        assert budget.spent == pytest.approx(ledger.epsilon(PURPOSE, DELTA), rel=1e-12)
        assert budget.reserved == pytest.approx(0, abs=1e-12)
        assert budget.noise_multiplier is not None
        assert epsilon([budget.noise_multiplier], DELTA) == pytest.approx(TASK.privacy.epsilon, rel=1e-9)
    assert log_state(federation).verified
    return record.releases[-1].body.model_after


@pytest.fixture(scope="module")
def undisturbed_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of the model of a run without noise that nothing disturbs."""
    noise: Any = lambda _brand: ZeroNoise()  # noqa: E731 - one argument of one call
    with open_federation(tmp_path_factory.mktemp("undisturbed"), task=TASK, noise=noise) as federation:
        federation.run(RUN, Watcher())
        return check_everything_counted_once(federation)


@pytest.mark.slow
@pytest.mark.parametrize("point", CRASHES)
def test_a_masked_run_that_dies_at_a_crash_point_ends_in_the_same_model(
    point: str, nursery: Nursery, tmp_path: Path, undisturbed_model: str
) -> None:
    nursery.start(tmp_path, noise="zero", crash=(point, CRASHES[point]), mode="distributed")
    assert nursery.ended() == CRASHED
    nursery.start(tmp_path, noise="zero", mode="distributed")
    assert nursery.ended() == 0
    noise: Any = lambda _brand: ZeroNoise()  # noqa: E731 - one argument of one call
    with open_federation(tmp_path, task=TASK, noise=noise) as federation:
        assert check_everything_counted_once(federation) == undisturbed_model
