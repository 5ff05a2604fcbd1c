"""What a round costs: the grid alone, the gradients alone, and a whole federation beside its bare arithmetic."""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from flwr.app import ArrayRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from client.agent.consent_desk import CustomerChoice
from client.agent.sources import TableSource
from client.features import CustomerTable
from client.training.gradients import clipped_gradient_sum
from consent.contract import (
    Act,
    Label,
    NumericFeature,
    PrivacyTarget,
    RoundManifest,
    RoundRelease,
    SolverSettings,
    TaskSpec,
)
from privacy.randomness import SystemNoise
from privacy.solvers import SolverState
from privacy.solvers.accelerated_additive import sigmoid
from server.local_grid import LocalGrid
from simulations.baselines import alone_private
from simulations.bench.masking import flower_with_ray, secure_sums
from simulations.bench.records import Record, at_most, spread
from simulations.federation import Federation, Terms
from simulations.simulate.options import NOTICES, PURPOSE, PURPOSES

REPETITIONS = 5
NODES = 50
BRANDS, CUSTOMERS, FEATURES, ROUNDS = 5, 2000, 15, 20
VECTORS, DIMENSION, CLIP_NORM = 5000, 150, 0.5


def rounds(_data: Path) -> list[Record]:
    """Measure and return all records."""
    peer, beside = flower_with_ray(NODES)
    return [_grid(beside), _grid_start(), *peer, *secure_sums(), _gradients(), *_federations()]


def _grid(beside: str) -> Record:
    app = ClientApp()

    @app.train()
    def echo(message: Message, _context: Context) -> Message:
        return Message(message.content, reply_to=message)

    grid = LocalGrid(app, [{} for _ in range(NODES)])
    content = RecordDict({"arrays": ArrayRecord([np.zeros(64)])})

    def one_round() -> None:
        replies = grid.send_and_receive([Message(content, node, "train") for node in grid.get_node_ids()])
        if len(list(replies)) != NODES:
            raise RuntimeError("A node did not answer.")

    times = _timed(one_round)
    how = f"in-process grid, {NODES} clients that echo 64 floats; {spread(times)} ms; {beside}"
    return at_most("grid.round_of_50_noop_clients", statistics.median(times), "ms", 10.0, how)


def _grid_start() -> Record:
    def start() -> None:
        LocalGrid(ClientApp(), [{} for _ in range(NODES)])

    times = _timed(start)
    how = f"an in-process grid of {NODES} nodes made; {spread(times)} ms"
    return at_most("grid.start_of_50_clients", statistics.median(times), "ms", 1000.0, how)


def _gradients() -> Record:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(VECTORS, DIMENSION)) / np.sqrt(DIMENSION)
    labels = (rng.random(VECTORS) < 0.2).astype(np.int8)
    point = rng.normal(size=DIMENSION)

    def by_opacus() -> None:
        clipped_gradient_sum(vectors, labels, point=point, base_logit=-1.0, clip_norm=CLIP_NORM)

    def closed_form() -> None:
        residual = sigmoid(vectors @ point - 1.0) - labels
        norms = np.linalg.norm(vectors, axis=1) * np.abs(residual)
        (residual * np.minimum(1.0, CLIP_NORM / (norms + 1e-6))) @ vectors

    opacus, closed = _timed(by_opacus), _timed(closed_form)
    ratios = [one / other for one, other in zip(opacus, closed, strict=True)]
    how = (
        f"{VECTORS} customers, {DIMENSION} coordinates; Opacus {spread(opacus)} ms, "
        f"closed form {spread(closed)} ms; ratio pair by pair: {spread(ratios)}"
    )
    return Record("gradients.opacus_over_closed_form", statistics.median(ratios), "ratio", None, None, how)


def _federations() -> list[Record]:
    return [_federation("local"), _federation("distributed")]


def _federation(mode: Literal["local", "distributed"]) -> Record:
    task, tables = _task(mode), [_table(seed) for seed in range(BRANDS)]

    def bare() -> None:
        for table in tables:
            alone_private(task, table, SystemNoise())

    federated, alone = [], []
    for _ in range(REPETITIONS):
        federated.append(_run_federation(task, tables))
        alone.extend(_timed(bare, repetitions=1))
    per_round = [value / task.total_rounds for value in federated]
    ratios = [one / other for one, other in zip(federated, alone, strict=True)]
    how = (
        f"{BRANDS} brands of {CUSTOMERS} customers, {FEATURES} features, {task.total_rounds} rounds: "
        f"{spread(per_round)} ms a round, consent calls, ledgers and log included; over the same sums without "
        f"any protocol in the same run: {spread(ratios)}"
    )
    name = "federation" if mode == "local" else "federation.distributed"
    return Record(f"{name}.round_over_bare_arithmetic", statistics.median(ratios), "ratio", None, None, how)


def _run_federation(task: TaskSpec, tables: list[CustomerTable]) -> float:
    """Return the milliseconds of all rounds of a fresh federation."""
    sources = {f"brand-{number}": TableSource(table) for number, table in enumerate(tables)}
    with (
        tempfile.TemporaryDirectory() as folder,
        Federation(Path(folder), Terms(task, PURPOSES, NOTICES), sources) as federation,
    ):
        for (name, parts), table in zip(federation.brands.items(), tables, strict=True):
            notice = federation.notices[PURPOSE]
            choices = [CustomerChoice(one, Act.GRANT, purpose=PURPOSE, notice=notice) for one in table.customers]
            parts.desk.record(choices, occasion=name)
        return _timed(lambda: federation.run("bench", _Silent()), repetitions=1)[0]


class _Silent:
    def opened(self, manifest: RoundManifest) -> None:
        """Do nothing."""

    def released(self, state: SolverState, release: RoundRelease) -> None:
        """Do nothing."""


def _task(mode: Literal["local", "distributed"]) -> TaskSpec:
    return TaskSpec(
        task_id="bench",
        purpose=PURPOSE,
        features=tuple(NumericFeature(name=f"x{index}", lower=-3, upper=3) for index in range(FEATURES)),
        label=Label(name="y"),
        privacy=PrivacyTarget(epsilon=1.0, delta=1e-6, trust_mode=mode),
        solver=SolverSettings(rounds=ROUNDS),
    )


def _table(seed: int) -> CustomerTable:
    rng = np.random.default_rng(seed)
    columns = {f"x{index}": rng.normal(size=CUSTOMERS) for index in range(FEATURES)}
    labels = (rng.random(CUSTOMERS) < sigmoid(columns["x0"] - 1)).astype(np.int8)
    return CustomerTable(tuple(f"{seed}-{row}" for row in range(CUSTOMERS)), columns, labels)


def _timed(act: Callable[[], object], *, repetitions: int = REPETITIONS) -> list[float]:
    """Return the milliseconds of each repetition, after one that is not counted when there are several."""
    if repetitions > 1:
        act()
    times = []
    for _ in range(repetitions):
        began = time.perf_counter()
        act()
        times.append(1000 * (time.perf_counter() - began))
    return times
