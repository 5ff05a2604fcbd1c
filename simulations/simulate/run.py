"""Running one seed of a simulation: a whole federation in a folder of its own, judged on held-out customers."""

from collections.abc import Callable
from pathlib import Path

from client.agent.consent_desk import CustomerChoice
from client.agent.sources import TableSource
from client.features import CustomerTable
from consent.contract import Act, RoundManifest, RoundRelease
from privacy.solvers import SolverState
from simulations.evaluation import HeldOut
from simulations.federation import Federation, Terms
from simulations.logs import log_state
from simulations.noise import noise_for
from simulations.simulate.options import NOTICES, PURPOSE, PURPOSES, SimulateOptions, deal, task_for
from simulations.simulate.summary import SeedResult
from simulations.tables import LabelledTable


class SeedObserver:
    """Passes rounds on as (seed, round, epsilon)."""

    def __init__(self, seed: int, tell: Callable[[int, int, float], None]) -> None:
        self._seed = seed
        self._tell = tell

    def opened(self, manifest: RoundManifest) -> None:
        """Do nothing: releases are what counts."""

    def released(self, state: SolverState, release: RoundRelease) -> None:
        """Pass a release on."""
        del state
        self._tell(self._seed, release.round, release.epsilon_spent)


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
    training, held_out = deal(options, table, seed)
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
        noise = tuple(_noise(signed.body) for signed in federation.record(f"simulate-{seed}").releases)
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
        noise=noise,
        log=log,
    )


def _noise(release: RoundRelease) -> float:
    """Return the noise in a round's sum: what its release says, or all of every brand's in mode `local`."""
    return float(len(release.attestations)) if release.closing is None else release.noise_shares


def _grants(customers: CustomerTable, notice: str) -> list[CustomerChoice]:
    return [
        CustomerChoice(customer, Act.GRANT, purpose=PURPOSE, notice=notice) for customer in customers.customers
    ]
