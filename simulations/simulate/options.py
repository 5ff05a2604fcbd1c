"""What a simulated run is: its options, its task, and which customers fall to which brand."""

import hashlib
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from client.features.table import CustomerTable
from consent.contract import Label, LegalBasis, Notice, PrivacyTarget, Purpose, SolverSettings, TaskSpec
from consent.contract.plan import solver_for
from privacy.errors import PrivacyError
from privacy.secure_sum import Scheme
from privacy.secure_sum.scheme import KEY_BYTES
from privacy.solvers import Marginals
from simulations.errors import InputError
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


class Mode(StrEnum):
    """Who sees a brand's sum, and so where the noise is added."""

    LOCAL = "local"
    """The coordinator may: each brand adds all the noise itself."""
    DISTRIBUTED = "distributed"
    """Nobody: only the sum over brands is opened, and they share its noise."""


@dataclass(frozen=True)
class Trust:
    """The trust mode and what it has to stand.

    Attributes:
        mode: the trust mode.
        dropouts: brands that may fail in a round of mode `distributed`.
        colluders: brands whose noise is not counted on there.
        brands_per_customer: most brands that one customer is at.
    """

    mode: Mode = Mode.LOCAL
    dropouts: int = 0
    colluders: int = 1
    brands_per_customer: int = 1


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
    trust: Trust = Trust()

    def document(self) -> dict[str, Any]:
        """Return the options as JSON, with the file's digest in place of its path."""
        content = hashlib.sha256(self.csv.read_bytes()).hexdigest()
        return {**asdict(self), "csv": content, "drop": list(self.drop), "split": self.split.value}


def check_options(options: SimulateOptions, table: LabelledTable) -> None:
    """Refuse options that can not work, before anything is written.

    Raises:
        InputError: names the option and what it must be.
    """
    for name in ("brands", "seeds", "rounds"):
        if getattr(options, name) < 1:
            raise InputError(f"--{name} must be at least 1, got {getattr(options, name)}.")
    _check_noise(task_for(options, table), options.brands)
    for seed in range(options.seeds):
        deal(options, table, seed)


def _check_noise(task: TaskSpec, brands: int) -> None:
    """Refuse noise that does not fit its grid, and brands among whom no secure sum holds."""
    privacy, solver = task.privacy, solver_for(task, brands=brands)
    try:
        for marginals in (None, Marginals(np.zeros(solver.marginals_length), 1)):
            solver.mechanism(marginals)
            if privacy.trust_mode == "distributed":
                names = tuple(str(number) for number in range(brands))
                Scheme(bytes(KEY_BYTES), names, privacy.colluders, privacy.dropouts, slots=1)
                solver.shares(marginals)
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
            privacy=PrivacyTarget(
                epsilon=options.epsilon,
                delta=options.delta,
                trust_mode=options.trust.mode.value,
                max_brands_per_customer=options.trust.brands_per_customer,
                dropouts=options.trust.dropouts,
                colluders=options.trust.colluders,
            ),
            solver=SolverSettings(rounds=options.rounds),
            minimum_cohort=options.minimum_cohort,
        )
    except ValueError:
        raise InputError(
            "An option is out of range: epsilon lies in (0, 16], delta in (0, 0.001), rounds in [1, 500], the "
            "minimum cohort is at least 2, brands per customer are 1 to 16, dropouts and colluders 0 to 99."
        ) from None


def epsilons(options: SimulateOptions, table: LabelledTable) -> list[float]:
    """Return the epsilon of a customer at 1, 2 ... brands, up to as many as the options admit."""
    solver = solver_for(task_for(options, table), brands=options.brands)
    return [solver.epsilon_at(brands) for brands in range(1, options.trust.brands_per_customer + 1)]


def deal(
    options: SimulateOptions, table: LabelledTable, seed: int
) -> tuple[dict[str, CustomerTable], dict[str, CustomerTable]]:
    """Return each brand's customers to train on and to be judged on.

    Raises:
        InputError: a brand has fewer than the minimum cohort to train on.
    """
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
