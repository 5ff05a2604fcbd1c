"""The demo from first file to verified log; whatever it shows is read back from records, not remembered."""

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from client.features import CustomerTable
from consent.contract import RoundManifest, RoundRelease, TaskSpec
from consent.wire import RunRecord
from privacy.randomness import SystemNoise
from privacy.solvers import SolverState
from simulations.baselines import alone_private, pooled
from simulations.demo.brands import DemoBrand, generate_brands, take_in
from simulations.demo.decisions import decide_all
from simulations.demo.withdrawals import Wave, plan_waves, recorded, withdraw
from simulations.errors import InputError
from simulations.evaluation import HeldOut
from simulations.federation import Federation, Terms
from simulations.logs import log_state
from simulations.noise import noise_for
from simulations.results import (
    BrandScore,
    CalibrationBin,
    Coverage,
    DemoResult,
    RoundPoint,
    Spend,
)
from simulations.synthetic import NOTICES, PURPOSES, TRAINING_PURPOSE, conversion_task

ALL_BRANDS = "all brands"
CALIBRATION_BINS = 10
SMALLEST_SCALE, LARGEST_SCALE = 0.25, 20.0
"""Below it the smallest brand has fewer opted-in customers than the minimum cohort."""

LARGEST_EPSILON = 16.0


class Progress(Protocol):
    """Someone who shows how far the demo is."""

    def stage(self, name: str) -> None:
        """A stage begins."""
        ...

    def round(self, point: RoundPoint, total_rounds: int, ceiling: float) -> None:
        """A round was released."""
        ...


@dataclass(frozen=True)
class DemoOptions:
    """What shapes a demo.

    Attributes:
        run_id: a run that has this id already goes on where it was.
        seed: of the synthetic brands; noise is not drawn from it.
        scale: size of the brands, 1 for about 15,000 customers in all.
        epsilon: per customer, over all rounds.
        noise_seed: draws noise from a seed, without any guarantee; None for the system's CSPRNG.
    """

    run_id: str
    seed: int
    scale: float
    epsilon: float
    noise_seed: int | None

    def document(self) -> dict[str, Any]:
        """Return the options as JSON."""
        return asdict(self)


def check_demo(options: DemoOptions) -> None:
    """Refuse options that can not work, before anything is written.

    Raises:
        InputError: names the option and what it must be.
    """
    if not SMALLEST_SCALE <= options.scale <= LARGEST_SCALE:
        raise InputError(f"--scale must lie in [{SMALLEST_SCALE}, {LARGEST_SCALE:g}], got {options.scale}.")
    if not 0 < options.epsilon <= LARGEST_EPSILON:
        raise InputError(f"--epsilon must lie in (0, {LARGEST_EPSILON:g}], got {options.epsilon}.")


def run_demo(options: DemoOptions, folder: Path, progress: Progress) -> DemoResult:
    """Run or resume a demo in its folder.

    Raises:
        server.errors.ServerError: a round could not be closed; the run can go on later.
    """
    began = time.monotonic()
    task = conversion_task(epsilon=options.epsilon)
    with (
        _brands(options, task, folder, progress) as brands,
        _federation(options, task, brands, folder) as federation,
    ):
        progress.stage("recording consents")
        for name, brand in brands.items():
            federation.brands[name].desk.record(list(brand.choices(federation.notices)), occasion="start")
        tables = {name: brand.synthetic.split(brand.everyone) for name, brand in brands.items()}
        judge = HeldOut(task, {name: held_out for name, (_, held_out) in tables.items()})
        trained_on = {name: _first_cohort(brand, tables[name][0]) for name, brand in brands.items()}
        waves = plan_waves({name: table.customers for name, table in trained_on.items()}, seed=options.seed)
        story = _Story(federation, waves, judge, progress, options.run_id)
        progress.stage("training")
        state = story.train()
        progress.stage("baselines")
        scores = _scores(task, judge, state, trained_on, {name: pair[1] for name, pair in tables.items()})
        progress.stage("deciding")
        lift = decide_all(brands, federation.brands, folder)
        progress.stage("verifying the log")
        withdrawals = recorded(waves, federation, TRAINING_PURPOSE)
        log = log_state(federation)
        return DemoResult(
            run_id=options.run_id,
            seconds=time.monotonic() - began,
            guaranteed=options.noise_seed is None,
            rounds=story.points(),
            scores=scores,
            spends=_spends(federation),
            withdrawals=withdrawals,
            lift=lift,
            log=log,
            coverage=_coverage(federation),
            calibration=_calibration(judge, state),
            intake={name: brand.intake for name, brand in brands.items()},
        )


class _Story:
    """The training run with its withdrawals between rounds, and its rounds read back from the records."""

    def __init__(
        self,
        federation: Federation,
        waves: tuple[Wave, ...],
        judge: HeldOut,
        progress: Progress,
        run_id: str,
    ) -> None:
        self._federation = federation
        self._waves = waves
        self._judge = judge
        self._progress = progress
        self._run_id = run_id
        self._cohorts: dict[int, dict[str, int]] = {}

    def train(self) -> SolverState:
        """Run the rounds that are left, after the withdrawals that an earlier process may not have got to."""
        record = self._record()
        for manifest in record.manifests:
            self.opened(manifest.body)
        released = [signed.body.round for signed in record.releases]
        for wave in self._waves:
            if released and wave.after_round <= max(released):
                withdraw(wave, self._federation.brands, TRAINING_PURPOSE)
        return self._federation.run(self._run_id, self)

    def opened(self, manifest: RoundManifest) -> None:
        """Remember each brand's cohort of the round."""
        sizes = {line.brand: line.snapshot.body.size_class for line in manifest.participants}
        self._cohorts.setdefault(manifest.round, {}).update(sizes)

    def released(self, state: SolverState, release: RoundRelease) -> None:
        """Show the round, then let the customers withdraw who do so now."""
        task = self._federation.terms.task
        self._progress.round(self._point(state, release), task.total_rounds, task.privacy.epsilon)
        for wave in self._waves:
            if wave.after_round == release.round:
                withdraw(wave, self._federation.brands, TRAINING_PURPOSE)

    def points(self) -> tuple[RoundPoint, ...]:
        """Return every released round, from the service's record and the coordinator's states."""
        states = self._federation.states(self._run_id)
        return tuple(
            self._point(states.load(signed.body.round), signed.body) for signed in self._record().releases
        )

    def _point(self, state: SolverState, release: RoundRelease) -> RoundPoint:
        model = self._judge.model(state)
        return RoundPoint(
            round=release.round,
            epsilon=release.epsilon_spent,
            auc=self._judge.overall(self._judge.scores(model)) if model and release.round else None,
            cohort=self._cohorts.get(release.round, {}),
            withdrawn=sum(wave.count() for wave in self._waves if wave.after_round == release.round - 1),
        )

    def _record(self) -> RunRecord:
        return self._federation.record(self._run_id)


@contextmanager
def _brands(
    options: DemoOptions, task: TaskSpec, folder: Path, progress: Progress
) -> Iterator[Mapping[str, DemoBrand]]:
    progress.stage("generating brands")
    generated = generate_brands(folder / "brands", seed=options.seed, scale=options.scale)
    progress.stage("taking in events")
    with ExitStack() as stores:
        brands = {}
        for synthetic in generated:
            brands[synthetic.name] = take_in(synthetic, folder / "brands" / synthetic.name, task)
            stores.callback(brands[synthetic.name].store.close)
        yield brands


def _federation(options: DemoOptions, task: TaskSpec, brands: Mapping[str, DemoBrand], folder: Path) -> Federation:
    return Federation(
        folder,
        Terms(task, PURPOSES, tuple(NOTICES.values())),
        {name: brand.source for name, brand in brands.items()},
        noise=lambda brand: noise_for(brand, options.noise_seed),
    )


def _first_cohort(brand: DemoBrand, training: CustomerTable) -> CustomerTable:
    """Return the training customers who hold a grant before the first round, also when a run goes on later."""
    granted = brand.granted(TRAINING_PURPOSE)
    return training.select(np.array([customer in granted for customer in training.customers], dtype=np.bool_))


def _scores(
    task: TaskSpec,
    judge: HeldOut,
    state: SolverState,
    training: Mapping[str, CustomerTable],
    held_out: Mapping[str, CustomerTable],
) -> tuple[BrandScore, ...]:
    model = judge.model(state)
    federated = judge.scores(model) if model else {}
    alone = {
        name: alone_private(task, table, SystemNoise()).probabilities(judge.cells[name])
        for name, table in training.items()
    }
    together = pooled(task, training, held_out)
    by_brand = [judge.by_brand(found) for found in (federated, alone, together)]
    overall = [judge.overall(found) for found in (federated, alone, together)]
    lines = [BrandScore(name, len(training[name]), *(found[name] for found in by_brand)) for name in judge.labels]
    return (*lines, BrandScore(ALL_BRANDS, sum(map(len, training.values())), *overall))


def _spends(federation: Federation) -> tuple[Spend, ...]:
    """Return the largest spend of any brand's own ledger, per purpose."""
    privacy = federation.terms.task.privacy
    return tuple(
        Spend(
            purpose=purpose.purpose,
            epsilon=max(
                parts.agent.ledger.epsilon(purpose.purpose, privacy.delta) for parts in federation.brands.values()
            ),
            ceiling=privacy.epsilon if purpose.purpose == federation.terms.task.purpose else 0.0,
            delta=privacy.delta,
        )
        for purpose in federation.terms.purposes
    )


def _coverage(federation: Federation) -> tuple[Coverage, ...]:
    return tuple(
        Coverage(brand, line.purpose, line.granted, line.withdrawn, line.never_asked)
        for brand in federation.brands
        for line in federation.officer.coverage(brand)
    )


def _calibration(judge: HeldOut, state: SolverState) -> tuple[CalibrationBin, ...]:
    """Return held-out customers of all brands in bins of equal size, by predicted probability."""
    model = judge.model(state)
    if model is None:
        return ()
    found = judge.scores(model)
    predicted: NDArray[np.float64] = np.concatenate([found[name] for name in judge.labels])
    observed = judge.all_labels()
    order = np.argsort(predicted)
    return tuple(
        CalibrationBin(float(predicted[rows].mean()), float(observed[rows].mean()), int(rows.size))
        for rows in np.array_split(order, CALIBRATION_BINS)
        if rows.size
    )
