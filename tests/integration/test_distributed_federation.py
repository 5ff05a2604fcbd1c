"""Whole federations under the secure sum in one process: sums, dropouts, noise and budgets of real agents."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Message
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

from client.features.encoding import cells
from client.port import RoundReply, RoundRequest
from client.training import Contribution, Trainer
from consent.contract import (
    Act,
    PrivacyTarget,
    RoundManifest,
    RoundRelease,
    Signed,
    SolverSettings,
    TaskSpec,
    wire,
)
from consent.contract.plan import solver_for
from privacy.randomness import SeededNoise
from privacy.solvers import Query
from privacy.vectors import arrays_digest
from server.errors import RoundIncompleteError
from server.local_grid import LocalGrid
from simulations.federation import Federation
from simulations.logs import log_state

FIVE = (*BRANDS, "dog", "eel")
RUN = "run-1"
EXACT = {"noise": lambda _brand: ZeroNoise()}


def secure_task(rounds: int = 2, **privacy: Any) -> TaskSpec:
    target = {"epsilon": EPSILON, "delta": DELTA, "trust_mode": "distributed", "dropouts": 1, "colluders": 1}
    return small_task(
        privacy=PrivacyTarget(**{**target, **privacy}),
        solver=SolverSettings(rounds=rounds, cells=16, max_bins=8),
    )


def five(folder: Path, task: TaskSpec, **options: Any) -> Federation:
    return open_federation(folder, tables={brand: small_table(brand) for brand in FIVE}, task=task, **options)


class Loss:
    """Loses replies in every in-process grid: `lost(reply, brand)` says which."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loss = self
        self.lost: Callable[[Message, str], bool] = lambda _reply, _brand: False

        class LossyGrid(LocalGrid):
            def __init__(self, client_app: Any, configs: Any) -> None:
                names = [str(config["brand"]) for config in configs]
                super().__init__(
                    client_app,
                    configs,
                    lost=lambda reply: loss.lost(reply, names[reply.metadata.src_node_id - 1001]),
                )

        monkeypatch.setattr("simulations.federation.LocalGrid", LossyGrid)


@pytest.fixture
def loss(monkeypatch: pytest.MonkeyPatch) -> Loss:
    return Loss(monkeypatch)


def exact_sum(task: TaskSpec, query: Query, brands: tuple[str, ...], without: str = "") -> NDArray[np.int64]:
    """Return the sum over brands' customers that the query asks for, in grid steps, without any noise."""
    solver = solver_for(task, brands=len(FIVE))
    total: Any = 0
    for brand in brands:
        table = small_table(brand)
        table = table.select(np.array([name != without for name in table.customers]))
        assert table.labels is not None
        people = Contribution(cells(table, task.features, task.solver.cells), table.labels)
        steps = solver.mechanism(query.marginals).to_grid(Trainer(solver).exact_sum(query, people, cohort=brand))
        total = total + steps
    return np.asarray(total, dtype=np.int64)


class Queries:
    """Keeps the query of each round, as one agent saw it."""

    def __init__(self, federation: Federation) -> None:
        self.by_round: dict[int, Query] = {}
        agent = federation.brands["ant"].agent
        release = agent.release

        def listen(request: RoundRequest) -> RoundReply:
            manifest = Signed[RoundManifest].model_validate_json(request.manifest).body
            self.by_round[manifest.round] = Query.from_arrays(request.arrays)
            return release(request)

        agent.release = listen  # type: ignore[method-assign]


def test_the_released_sum_is_that_of_all_customers(tmp_path: Path) -> None:
    task = secure_task()
    with five(tmp_path, task, **EXACT) as federation:
        queries, watcher = Queries(federation), Watcher()
        federation.run(RUN, watcher)
        for release in watcher.releases:
            expected = exact_sum(task, queries.by_round[release.round], FIVE)
            assert release.aggregate == arrays_digest({"sum": expected})
            assert release.noise_shares == 5 / 3
        installed = {federation.brands[brand].agent.models.get(PURPOSE).digest for brand in FIVE}
        assert installed == {watcher.releases[-1].model_after}
        assert log_state(federation).verified


def test_the_noise_of_the_sum_is_what_the_release_says(tmp_path: Path) -> None:
    task = secure_task(rounds=1)
    solver = solver_for(task, brands=len(FIVE))
    with five(tmp_path, task) as federation:
        queries, sums = Queries(federation), []
        watcher = Watcher()
        state = federation.run(RUN, watcher)
        assert state.marginals is not None
        mechanism = solver.mechanism(None)
        noise = mechanism.to_grid(state.marginals.total) - exact_sum(task, queries.by_round[0], FIVE)
        sums.append(noise)
        deviation = np.sqrt(solver.shares(None).variance_of(len(FIVE)))
        assert 0.5 < noise.std() / deviation < 1.6
        assert state.marginals.noise_shares == pytest.approx(5 / 3)
        words = [signed.body for release in watcher.releases for signed in release.attestations]
        assert {word.noise for word in words} == {"system"}


def test_a_budget_is_spent_once_whatever_was_tried(tmp_path: Path, loss: Loss) -> None:
    task = secure_task(rounds=ROUNDS)
    failures = {0: 2, 3: 1, ROUNDS: 1}
    with five(tmp_path, task) as federation:
        watcher = Watcher()

        def lose(reply: Message, brand: str) -> bool:
            if reply.metadata.message_type != wire.ROUND_MESSAGE or brand not in {"dog", "eel"}:
                return False
            number = watcher.manifests[-1].round
            attempt = watcher.manifests[-1].attempt
            return attempt < failures.get(number, 0)

        loss.lost = lose
        federation.run(RUN, watcher)
        attempts = [one.attempt for one in watcher.manifests if one.round == 0]
        assert attempts == [0, 1, 2]
        for brand in FIVE:
            ledger = federation.brands[brand].agent.ledger
            assert ledger.lines(PURPOSE) == ROUNDS + 1
            assert ledger.epsilon(PURPOSE, DELTA) == pytest.approx(EPSILON, rel=1e-9)
            (budget,) = federation.officer.budgets(brand)
            assert budget.spent == pytest.approx(EPSILON, rel=1e-9)
            assert budget.reserved == pytest.approx(0, abs=1e-12)
        record = federation.record(RUN)
        assert len(record.abandonments) == sum(failures.values())
        assert len(record.closings) == len(record.releases) == ROUNDS + 1
        assert log_state(federation).verified


@pytest.mark.parametrize(
    ("kind", "missing"),
    [
        (wire.ROUND_MESSAGE, True),
        (wire.OPEN_MESSAGE, False),
        (wire.INSTALL_MESSAGE, False),
    ],
    ids=["between masking and closing", "after the closing", "at the end"],
)
def test_a_brand_may_drop_out(kind: str, missing: bool, tmp_path: Path, loss: Loss) -> None:
    task = secure_task()
    loss.lost = lambda reply, brand: brand == "eel" and reply.metadata.message_type == kind
    with five(tmp_path, task, **EXACT) as federation:
        queries, watcher = Queries(federation), Watcher()
        federation.run(RUN, watcher)
        arrived = FIVE[:-1] if missing else FIVE
        for release in watcher.releases:
            expected = exact_sum(task, queries.by_round[release.round], arrived)
            assert release.aggregate == arrays_digest({"sum": expected})
            assert release.noise_shares == len(arrived) / 3


def test_a_brand_that_was_away_is_asked_again_in_the_next_round(tmp_path: Path, loss: Loss) -> None:
    task = secure_task(rounds=3)
    with five(tmp_path, task, **EXACT) as federation:
        queries, watcher = Queries(federation), Watcher()

        def lose(reply: Message, brand: str) -> bool:
            is_away = len(watcher.releases) == 1
            return brand == "bee" and is_away and reply.metadata.message_type == wire.ROUND_MESSAGE

        loss.lost = lose
        federation.run(RUN, watcher)
        assert [release.noise_shares for release in watcher.releases] == [5 / 3, 4 / 3, 5 / 3, 5 / 3]
        for release, brands in zip(
            watcher.releases, (FIVE, ("ant", "cat", "dog", "eel"), FIVE, FIVE), strict=True
        ):
            expected = exact_sum(task, queries.by_round[release.round], brands)
            assert release.aggregate == arrays_digest({"sum": expected})


def test_who_withdraws_while_a_round_is_open_is_not_in_its_sum(tmp_path: Path) -> None:
    task = secure_task()
    leaving = small_table("bee").customers[11]
    with five(tmp_path, task, **EXACT) as federation:

        def withdraw(manifest: RoundManifest) -> None:
            if (manifest.round, manifest.attempt) == (1, 0):
                choose(federation, "bee", Act.WITHDRAW, leaving)

        queries, watcher = Queries(federation), Watcher(on_opened=withdraw)
        federation.run(RUN, watcher)
        assert [(one.round, one.attempt) for one in watcher.manifests] == [(0, 0), (1, 0), (1, 1), (2, 0)]
        for release in watcher.releases:
            gone = leaving if release.round else ""
            expected = exact_sum(task, queries.by_round[release.round], FIVE, without=gone)
            assert release.aggregate == arrays_digest({"sum": expected}), release.round
        assert federation.brands["bee"].agent.ledger.lines(PURPOSE) == task.total_rounds


def test_too_many_dropouts_stop_the_run_and_it_goes_on_later(tmp_path: Path, loss: Loss) -> None:
    task = secure_task()
    away = {"dog", "eel"}

    def lose(reply: Message, brand: str) -> bool:
        return brand in away and reply.metadata.message_type == wire.OPEN_MESSAGE

    loss.lost = lose
    with (
        five(tmp_path, task, **EXACT) as federation,
        pytest.raises(RoundIncompleteError, match="3 brands helped, 4 are needed"),
    ):
        federation.run(RUN, Watcher())
    away.clear()
    with five(tmp_path, task, **EXACT) as federation:
        watcher = Watcher()
        federation.run(RUN, watcher)
        assert [(one.round, one.attempt) for one in watcher.manifests] == [(1, 0), (2, 0)]
        releases: list[RoundRelease] = watcher.releases
        assert [release.noise_shares for release in releases] == [5 / 3] * 3
        assert federation.brands["dog"].agent.ledger.lines(PURPOSE) == task.total_rounds


def test_seeded_runs_agree_bit_for_bit_and_say_so(tmp_path: Path) -> None:
    models = []
    for folder in ("first", "second"):
        noise = {brand: SeededNoise(position) for position, brand in enumerate(FIVE)}
        with five(tmp_path / folder, secure_task(), noise=noise.get) as federation:
            watcher = Watcher()
            federation.run(RUN, watcher)
        models.append(watcher.releases[-1].model_after)
        words = [signed.body for release in watcher.releases for signed in release.attestations]
        assert {word.noise for word in words} == {"seeded"}
    assert models[0] == models[1]


def test_unseeded_runs_differ(tmp_path: Path) -> None:
    models = set()
    for folder in ("first", "second"):
        with five(tmp_path / folder, secure_task(rounds=1)) as federation:
            watcher = Watcher()
            federation.run(RUN, watcher)
        models.add(watcher.releases[-1].model_after)
    assert len(models) == 2
