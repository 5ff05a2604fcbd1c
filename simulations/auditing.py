"""Auditing a solver as it runs: canaries in every round of a simulated run, in either trust mode.

A canary is the worst customer that the guarantee allows: in every round a contribution as long as the mechanism's
sensitivity, along a direction of its own. All else is what brands and coordinator run: exact sums and clipping,
noise, the secure sum's shares, the solver's steps. The auditor knows everything but the coins and the noise.
"""

import math
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from client.training import Contribution, Trainer
from privacy.auditing import Canaries, NoiseSeen, gaussian_epsilon, one_run_epsilon
from privacy.mechanisms import GridGaussian
from privacy.randomness import NoiseSource, RandomBytes, SystemNoise
from privacy.solvers import AcceleratedAdditive, Marginals
from simulations.audits import Audit

COHORT = "0" * 64
Released = Callable[[AcceleratedAdditive, Marginals | None, Sequence[NDArray[np.float64]]], "Opened"]
"""From the exact sums of all brands to what the coordinator opens."""


@dataclass(frozen=True)
class Opened:
    """A round's sum as the coordinator has it, in its own units, and the noise that it states for it."""

    total: NDArray[np.float64]
    noise_shares: float


class Brands:
    """What brands release and whoever sees most of it makes of that, without transport.

    Args:
        noise: where continuous noise comes from.
        random_bytes: where shares of discrete noise come from.
    """

    def __init__(
        self, *, noise: NoiseSource | None = None, random_bytes: RandomBytes = secrets.token_bytes
    ) -> None:
        self._noise = noise or SystemNoise()
        self._random_bytes = random_bytes

    def __call__(
        self, solver: AcceleratedAdditive, marginals: Marginals | None, exact: Sequence[NDArray[np.float64]]
    ) -> Opened:
        """Release one brand's sum, or open that of those who arrived less the noise that colluders tell."""
        mechanism = solver.mechanism(marginals)
        if not solver.distributed:
            return Opened(mechanism.from_grid(mechanism.release(exact[0], self._noise)), 1.0)
        shares = solver.shares(marginals)
        total = np.sum([mechanism.to_grid(each) for each in exact], axis=0)
        for _ in range(shares.fewest):
            total = total + shares.draw(total.size, self._random_bytes)
        return Opened(mechanism.from_grid(total), shares.noise_shares(len(exact)) * shares.fewest / len(exact))


@dataclass
class _Watch:
    """What the auditor has noted so far."""

    coins: NDArray[np.bool_]
    scores: NDArray[np.float64]
    noise: list[NDArray[np.float64]] = field(default_factory=list)
    stated: list[float] = field(default_factory=list)

    def planted(self, mechanism: GridGaussian, size: int) -> NDArray[np.float64]:
        """Return what canaries add, shape (size,); those for whom there is no direction left were never any."""
        self.coins, self.scores = self.coins[:size], self.scores[:size]
        planted = np.zeros(size)
        longest = math.floor(mechanism.sensitivity / mechanism.grid) * mechanism.grid
        planted[: self.coins.size][self.coins] = longest
        return planted

    def note(self, mechanism: GridGaussian, residual: NDArray[np.float64], opened: Opened) -> None:
        """Take in what a round opened beyond what everybody else added."""
        deviations = residual / mechanism.standard_deviation
        self.scores = self.scores + deviations[: self.coins.size] / mechanism.noise_multiplier
        planted = self.planted(mechanism, residual.size)
        self.noise.append(deviations - planted / mechanism.standard_deviation)
        self.stated.append(opened.noise_shares)


def audit(
    solver: AcceleratedAdditive,
    customers: Sequence[Contribution],
    *,
    released: Released | None = None,
    random_bytes: RandomBytes = secrets.token_bytes,
) -> Audit:
    """Run a solver over brands' customers with canaries at the first brand, and audit what is seen of it.

    Where the trust mode is `local`, that is the first brand's own releases. Where it is `distributed`, as many
    brands drop out and tell their noise as the solver says.

    Args:
        solver: as approved.
        customers: of each brand.
        released: what is seen of a round; as brands release where it is None.
        random_bytes: where the canaries' coins come from.
    """
    seen_by = released or Brands(random_bytes=random_bytes)
    present = customers[: len(customers) - solver.dropouts] if solver.distributed else customers[:1]
    trainers = [Trainer(solver) for _ in present]
    state = solver.start()
    watch = _Watch(_coins(solver.marginals_length, random_bytes), np.zeros(solver.marginals_length))
    while not solver.is_finished(state):
        query = solver.query(state)
        mechanism = solver.mechanism(query.marginals)
        exact = [
            trainer.exact_sum(query, mine, cohort=COHORT) for trainer, mine in zip(trainers, present, strict=True)
        ]
        planted = watch.planted(mechanism, exact[0].size)
        opened = seen_by(solver, query.marginals, [exact[0] + planted, *exact[1:]])
        watch.note(mechanism, opened.total - np.sum(exact, axis=0), opened)
        state = solver.advance(state, opened.total, opened.noise_shares)
    return _found(solver, watch)


def _found(solver: AcceleratedAdditive, watch: _Watch) -> Audit:
    canaries = Canaries(watch.scores, watch.coins)
    noise = NoiseSeen(tuple(watch.noise), tuple(watch.stated))
    return Audit(
        claimed=solver.epsilon,
        canaries=canaries.scores.size,
        one_run=one_run_epsilon(canaries, solver.delta),
        gaussian=gaussian_epsilon(canaries, solver.delta),
        too_small=noise.too_small(),
        repeated=noise.repeated(),
    )


def _coins(size: int, random_bytes: RandomBytes) -> NDArray[np.bool_]:
    return np.unpackbits(np.frombuffer(random_bytes(-(-size // 8)), dtype=np.uint8))[:size].astype(np.bool_)
