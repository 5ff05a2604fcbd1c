"""What a simulation ends in: each seed's result, and the JSON document over all of them."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from simulations.audits import Audit
from simulations.results import LogResult
from simulations.simulate.options import SimulateOptions


@dataclass(frozen=True)
class SeedResult:
    """One seed's federation: held-out AUC over all brands and at each, customers trained on, and its log.

    `noise` is the variance of the noise in each round's sum, in units of what one customer's guarantee takes.
    """

    seed: int
    auc: float
    epsilon: float
    rounds: int
    brands: Mapping[str, float]
    customers: Mapping[str, int]
    noise: tuple[float, ...]
    log: LogResult


def document(
    options: SimulateOptions, results: Sequence[SeedResult], epsilons: Sequence[float], audit: Audit | None
) -> dict[str, Any]:
    """Return the JSON document of a finished simulation.

    Args:
        options: what was run.
        results: of every seed.
        epsilons: of a customer at 1, 2 ... brands.
        audit: what canaries found, where there was an audit.
    """
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
        **asdict(options.trust),
        "epsilon_by_brands": list(epsilons),
        "brands": [
            {
                "name": name,
                "customers": round(statistics.fmean(result.customers[name] for result in results)),
                "auc": _mean([result.brands[name] for result in results]),
            }
            for name in last.brands
        ],
        "audit": None if audit is None else {**asdict(audit), "holds": audit.holds()},
        "log": asdict(last.log),
        "seeds": [_seed(result) for result in results],
    }


def _seed(result: SeedResult) -> dict[str, Any]:
    return {
        "seed": result.seed,
        "auc": result.auc,
        "epsilon": result.epsilon,
        "noise": list(result.noise),
        "log": asdict(result.log),
    }


def _mean(values: list[float]) -> float | None:
    known = [value for value in values if not math.isnan(value)]
    return statistics.fmean(known) if known else None
