"""Held-out AUC of the default task on the reference tables, five brands, IID, epsilon 1, three seeds."""

import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

from simulations.bench.records import Record, at_least
from simulations.simulate.options import SimulateOptions, check_options
from simulations.simulate.run import run_seed
from simulations.split import Split
from simulations.tables import read_table


@dataclass(frozen=True)
class ReferenceTable:
    """A table, its target, what is left out, and the AUC that must be reached."""

    name: str
    file: str
    target: str
    drop: tuple[str, ...]
    floor: float


TABLES = (
    ReferenceTable("bank_marketing", "bank_marketing/bank_full.csv", "deposit", ("duration",), 0.765),
    ReferenceTable("telco_churn", "telco_churn/telco_customer_churn.csv", "Churn", (), 0.820),
    ReferenceTable("adult", "adult/adult_train.csv", "income >50K", (), 0.895),
)


def accuracy(data: Path) -> list[Record]:
    """Run every reference table's federations and return one record each."""
    return [_measure(table, data) for table in TABLES]


def _measure(reference: ReferenceTable, data: Path) -> Record:
    options = SimulateOptions(
        csv=data / reference.file,
        target=reference.target,
        drop=reference.drop,
        brands=5,
        split=Split.IID,
        epsilon=1.0,
        delta=1e-6,
        seeds=3,
        rounds=40,
        minimum_cohort=50,
        noise_seed=None,
    )
    table = read_table(options.csv, target=options.target, drop=options.drop)
    check_options(options, table)
    aucs = []
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory() as folder:
            result = run_seed(options, table, seed, folder=Path(folder), tell=lambda *_round: None)
        aucs.append(result.auc)
    how = (
        f"python -m simulations.bench accuracy; mean of seeds 0 to 2 ({', '.join(f'{auc:.4f}' for auc in aucs)}); "
        f"local noise at each of 5 brands, delta 1e-6, noise from the system's CSPRNG"
    )
    return at_least(f"auc.{reference.name}", statistics.fmean(aucs), "AUC", reference.floor, how)
