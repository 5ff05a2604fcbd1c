"""`confide simulate`: any labelled customer table, dealt out to brands, trained as it would be deployed."""

import hashlib
import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from client.agent.consent_desk import CustomerChoice
from client.agent.sources import TableSource
from client.features import CustomerTable
from consent.contract import (
    Act,
    Label,
    LegalBasis,
    Notice,
    PrivacyTarget,
    Purpose,
    RoundManifest,
    RoundRelease,
    SolverSettings,
    TaskSpec,
)
from consent.contract.plan import solver_for
from privacy.errors import PrivacyError
from privacy.solvers import Marginals, SolverState
from simulations.errors import InputError
from simulations.evaluation import HeldOut
from simulations.federation import Federation, Terms
from simulations.logs import LogState, log_state
from simulations.noise import noise_for
from simulations.split import Split, hold_out, split_customers
from simulations.tables import LabelledTable

PURPOSE = "personalization-training"

PURPOSES = (
    Purpose(
        purpose=PURPOSE,
        title="Learn together with other brands",
        legal_basis=LegalBasis.CONSENT,
        data_categories=("customer-table",),
        retention_days=400,
    ),
)
NOTICES = (
    Notice(
        purpose=PURPOSE,
        language="en",
        text="Simulated customers: every row of the table is taken to have granted this purpose.",
    ),
)


@dataclass(frozen=True)
class SimulateOptions:
    """What shapes a simulated run; a run is resumed only with the same options."""

    csv: Path
    target: str
    drop: tuple[str, ...]
    brands: int
    split: Split
    epsilon: float
    delta: float
    seeds: int
    rounds: int
    minimum_cohort: int
    noise_seed: int | None

    def document(self) -> dict[str, Any]:
        """Return the options as JSON, with the file's digest in place of its path."""
        content = hashlib.sha256(self.csv.read_bytes()).hexdigest()
        return {**asdict(self), "csv": content, "drop": list(self.drop), "split": self.split.value}


@dataclass(frozen=True)
class SeedResult:
    """One seed's federation: held-out AUC over all brands and at each, customers trained on, and its log."""

    seed: int
    auc: float
    epsilon: float
    rounds: int
    brands: Mapping[str, float]
    customers: Mapping[str, int]
    log: LogState


class SeedObserver:
    """Passes rounds on as (seed, round, epsilon)."""

    def __init__(self, seed: int, tell: Callable[[int, int, float], None]) -> None:
        self._seed = seed
        self._tell = tell
        self.epsilon = 0.0

    def opened(self, manifest: RoundManifest) -> None:
        """Do nothing: releases are what counts."""

    def released(self, state: SolverState, release: RoundRelease) -> None:
        """Pass a release on."""
        del state
        self._tell(self._seed, release.round, release.epsilon_spent)


def check_options(options: SimulateOptions, table: LabelledTable) -> None:
    """Refuse options that can not work, before anything is written.

    Raises:
        InputError: names the option and what it must be.
    """
    for name in ("brands", "seeds", "rounds"):
        if getattr(options, name) < 1:
            raise InputError(f"--{name} must be at least 1, got {getattr(options, name)}.")
    _check_noise(task_for(options, table))
    for seed in range(options.seeds):
        _deal(options, table, seed)


def _check_noise(task: TaskSpec) -> None:
    solver = solver_for(task)
    try:
        for marginals in (None, Marginals(np.zeros(solver.marginals_length), 1)):
            solver.mechanism(marginals)
    except PrivacyError as error:
        raise InputError(str(error)) from None


def task_for(options: SimulateOptions, table: LabelledTable) -> TaskSpec:
    """Return the task that the options describe.

    Raises:
        InputError: epsilon, delta or another number is out of its range.
    """
    try:
        return TaskSpec(
            task_id="simulate",
            purpose=PURPOSE,
            features=table.features,
            label=Label(name=options.target),
            privacy=PrivacyTarget(epsilon=options.epsilon, delta=options.delta),
            solver=SolverSettings(rounds=options.rounds),
            minimum_cohort=options.minimum_cohort,
        )
    except ValueError:
        raise InputError(
            "An option is out of range: epsilon lies in (0, 16], delta in (0, 0.001), rounds in [1, 500], and the "
            "minimum cohort is at least 2."
        ) from None


def run_seed(
    options: SimulateOptions,
    table: LabelledTable,
    seed: int,
    *,
    folder: Path,
    tell: Callable[[int, int, float], None],
) -> SeedResult:
    """Run or resume one seed's federation in its folder and judge the model on held-out customers.

    Raises:
        server.errors.ServerError: a round could not be closed.
    """
    task = task_for(options, table)
    training, held_out = _deal(options, table, seed)
    sources = {name: TableSource(customers) for name, customers in training.items()}
    observer = SeedObserver(seed, tell)
    with Federation(
        folder,
        Terms(task, PURPOSES, NOTICES),
        sources,
        noise=lambda brand: noise_for(brand, options.noise_seed),
    ) as federation:
        for name, customers in training.items():
            grants = _grants(customers, federation.notices[PURPOSE])
            federation.brands[name].desk.record(grants, occasion="start")
        state = federation.run(f"simulate-{seed}", observer)
        ledgers = [parts.agent.ledger for parts in federation.brands.values()]
        epsilon = max(ledger.epsilon(PURPOSE, options.delta) for ledger in ledgers)
        rounds = max(ledger.lines(PURPOSE) for ledger in ledgers)
        log = log_state(federation)
    judge = HeldOut(task, held_out)
    model = judge.model(state)
    scores = judge.scores(model) if model else {}
    return SeedResult(
        seed=seed,
        auc=judge.overall(scores),
        epsilon=epsilon,
        rounds=rounds,
        brands=judge.by_brand(scores),
        customers={name: len(customers) for name, customers in training.items()},
        log=log,
    )


def document(options: SimulateOptions, results: list[SeedResult]) -> dict[str, Any]:
    """Return the JSON document of a finished simulation."""
    aucs = [result.auc for result in results]
    last = results[-1]
    return {
        "auc": statistics.fmean(aucs),
        "auc_std": statistics.stdev(aucs) if len(aucs) > 1 else 0.0,
        "epsilon": max(result.epsilon for result in results),
        "delta": options.delta,
        "rounds": last.rounds,
        "guaranteed": options.noise_seed is None,
        "split": options.split.value,
        "brands": [
            {
                "name": name,
                "customers": round(statistics.fmean(result.customers[name] for result in results)),
                "auc": _mean([result.brands[name] for result in results]),
            }
            for name in last.brands
        ],
        "log": asdict(last.log),
        "seeds": [
            {"seed": result.seed, "auc": result.auc, "epsilon": result.epsilon, "log": asdict(result.log)}
            for result in results
        ],
    }


def _mean(values: list[float]) -> float | None:
    known = [value for value in values if not math.isnan(value)]
    return statistics.fmean(known) if known else None


def _deal(
    options: SimulateOptions, table: LabelledTable, seed: int
) -> tuple[dict[str, CustomerTable], dict[str, CustomerTable]]:
    """Return each brand's customers to train on and to be judged on."""
    rng = np.random.default_rng(seed)
    customers = table.customers
    labels = customers.labels if customers.labels is not None else np.zeros(len(customers), dtype=np.int8)
    assigned = split_customers(
        labels, brands=options.brands, split=options.split, minimum=options.minimum_cohort, rng=rng
    )
    held_out = hold_out(len(customers), rng)
    names = [f"brand-{number + 1}" for number in range(options.brands)]
    training = {name: customers.select((assigned == k) & ~held_out) for k, name in enumerate(names)}
    if min(len(part) for part in training.values()) < options.minimum_cohort:
        raise InputError(
            f"A brand has fewer than the minimum cohort of {options.minimum_cohort} customers to train on; take "
            f"fewer brands or more customers."
        )
    return training, {name: customers.select((assigned == k) & held_out) for k, name in enumerate(names)}


def _grants(customers: CustomerTable, notice: str) -> list[CustomerChoice]:
    return [
        CustomerChoice(customer, Act.GRANT, purpose=PURPOSE, notice=notice) for customer in customers.customers
    ]
