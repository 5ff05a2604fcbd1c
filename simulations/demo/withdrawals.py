"""Customers who change their minds while the model trains, and what the service's record says of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from client.agent.assembly import AgentParts
from client.agent.consent_desk import CustomerChoice
from consent.contract import Act
from simulations.federation import Federation
from simulations.results import WithdrawalWave

AFTER_ROUNDS = (7, 19, 31)
WITHDRAWING_SHARE = 0.01


@dataclass(frozen=True)
class Wave:
    """Customers, by brand, who withdraw a purpose after a round was released."""

    after_round: int
    customers: Mapping[str, tuple[str, ...]]

    def count(self) -> int:
        """Return how many customers withdraw."""
        return sum(len(names) for names in self.customers.values())


def plan_waves(trained_on: Mapping[str, Sequence[str]], *, seed: int) -> tuple[Wave, ...]:
    """Choose who withdraws when: about one in a hundred of each brand's customers per wave, nobody twice.

    Args:
        trained_on: customers in each brand's first cohort.
        seed: of the choice; the same seed chooses the same customers.
    """
    rng = np.random.default_rng([seed, 1])
    waves: list[dict[str, tuple[str, ...]]] = [{} for _ in AFTER_ROUNDS]
    for brand, customers in sorted(trained_on.items()):
        size = max(1, round(WITHDRAWING_SHARE * len(customers)))
        chosen = rng.permutation(sorted(customers))[: size * len(AFTER_ROUNDS)].tolist()
        for index, wave in enumerate(waves):
            wave[brand] = tuple(chosen[index * size : (index + 1) * size])
    return tuple(Wave(after, customers) for after, customers in zip(AFTER_ROUNDS, waves, strict=True))


def withdraw(wave: Wave, brands: Mapping[str, AgentParts], purpose: str) -> None:
    """Record a wave's withdrawals; doing so twice is the same as once."""
    for brand, customers in wave.customers.items():
        choices = [CustomerChoice(name, Act.WITHDRAW, purpose=purpose) for name in customers]
        brands[brand].desk.record(choices, occasion=f"wave-{wave.after_round}")


def recorded(waves: Sequence[Wave], federation: Federation, purpose: str) -> tuple[WithdrawalWave, ...]:
    """Return each wave with the rounds that could use its customers, as the consent service answers it."""
    found = []
    for wave in waves:
        rounds: set[int] = set()
        for brand, customers in wave.customers.items():
            for pseudonym in federation.brands[brand].pseudonymizer.pseudonyms(customers):
                taken = federation.officer.participation(brand, pseudonym)
                rounds.update(line.round for line in taken if line.purpose == purpose)
        found.append(WithdrawalWave(wave.after_round, wave.count(), tuple(sorted(rounds))))
    return tuple(found)
