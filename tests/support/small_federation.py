"""A small federation over a synthetic table, for tests that run whole rounds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.agent.consent_desk import CustomerChoice
from client.agent.sources import TableSource
from client.features import CustomerTable
from consent.contract import (
    Act,
    CategoricalFeature,
    Label,
    LegalBasis,
    Notice,
    NumericFeature,
    PrivacyTarget,
    Purpose,
    RoundManifest,
    RoundRelease,
    SolverSettings,
    TaskSpec,
)
from privacy.solvers import SolverState
from simulations.federation import Federation, Terms

PURPOSE = "conversion"
BRANDS = ("ant", "bee", "cat")
CUSTOMERS = 120
EPSILON = 2.0
DELTA = 1e-5
ROUNDS = 8


class ZeroNoise:
    """No noise at all, so that a test can see the exact sum in what is released."""

    guaranteed = False

    def normal(self, size: int) -> NDArray[np.float64]:
        return np.zeros(size)

    def random_bytes(self, size: int) -> bytes:
        return bytes(size)


@dataclass
class Watcher:
    """Keeps what it is told, and passes it on."""

    on_opened: Callable[[RoundManifest], None] = lambda _manifest: None
    on_released: Callable[[RoundRelease], None] = lambda _release: None
    manifests: list[RoundManifest] = field(default_factory=list)
    releases: list[RoundRelease] = field(default_factory=list)

    def opened(self, manifest: RoundManifest) -> None:
        self.manifests.append(manifest)
        self.on_opened(manifest)

    def released(self, state: SolverState, release: RoundRelease) -> None:
        del state
        self.releases.append(release)
        self.on_released(release)


def small_task(**changes: Any) -> TaskSpec:
    values: dict[str, Any] = {
        "task_id": "small",
        "purpose": PURPOSE,
        "features": (
            NumericFeature(name="spend", lower=-4, upper=4),
            CategoricalFeature(name="plan", levels=("basic", "plus", "pro")),
        ),
        "label": Label(name="bought"),
        "privacy": PrivacyTarget(epsilon=EPSILON, delta=DELTA),
        "solver": SolverSettings(rounds=ROUNDS, cells=16, max_bins=8),
        "minimum_cohort": 20,
    }
    return TaskSpec(**{**values, **changes})


def secure_task(**changes: Any) -> TaskSpec:
    """Return a small task whose sums only open together."""
    privacy = PrivacyTarget(epsilon=EPSILON, delta=DELTA, trust_mode="distributed", dropouts=0, colluders=1)
    return small_task(privacy=privacy, solver=SolverSettings(rounds=3, cells=16, max_bins=8), **changes)


def small_table(brand: str, *, customers: int = CUSTOMERS, seed: int = 7) -> CustomerTable:
    """Return the same customers for the same brand and seed, in every process."""
    rng = np.random.default_rng([seed, *brand.encode()])
    spend = rng.normal(size=customers)
    plan = rng.choice(np.array(["basic", "plus", "pro"], dtype=object), size=customers)
    odds = 2 * spend + (plan == "pro") - 0.5
    labels = (rng.random(customers) < 1 / (1 + np.exp(-odds))).astype(np.int8)
    names = tuple(f"{brand}-{number}" for number in range(customers))
    return CustomerTable(names, {"spend": spend, "plan": plan}, labels)


def small_terms(task: TaskSpec | None = None) -> Terms:
    purpose = Purpose(
        purpose=PURPOSE,
        title="Conversion",
        legal_basis=LegalBasis.CONSENT,
        data_categories=("behaviour",),
        retention_days=30,
    )
    notice = Notice(purpose=PURPOSE, language="en", text="May we learn from what you buy?")
    return Terms(task or small_task(), (purpose,), (notice,))


def open_federation(
    folder: Path, *, tables: Mapping[str, CustomerTable] | None = None, **options: Any
) -> Federation:
    """Open the federation of a folder with every customer's grant recorded, once and for all."""
    tables = tables or {brand: small_table(brand) for brand in BRANDS}
    sources = {brand: TableSource(table) for brand, table in tables.items()}
    federation = Federation(folder, small_terms(options.pop("task", None)), sources, **options)
    for brand, table in tables.items():
        choose(federation, brand, Act.GRANT, *table.customers, occasion="start")
    return federation


def choose(federation: Federation, brand: str, act: Act, *customers: str, occasion: str | None = None) -> None:
    """Record one act of several customers at a brand."""
    notice = federation.notices[PURPOSE] if act is Act.GRANT else None
    choices = [CustomerChoice(customer, act, purpose=PURPOSE, notice=notice) for customer in customers]
    federation.brands[brand].desk.record(choices, occasion=occasion)
