"""What is written of rounds of secure sums: setups, masked manifests, closings; and a world to hold them in."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from round_papers import NOISE, PURPOSE, RUN, Rounds, digest, task_of

from consent.contract import (
    Abandonment,
    Act,
    Closing,
    EnrolledBrand,
    Mechanism,
    PrivacyTarget,
    RoundManifest,
    RoundRelease,
    RunSetup,
    SecureSlot,
    Signed,
    TaskSpec,
    Unspent,
)

BRANDS = ("acme", "bolt", "crux", "dory", "etna")
DROPOUTS, COLLUDERS = 1, 1
SLOTS = 8


def masked_task(*, epsilon: float = 2.0, brands_per_customer: int = 1, **changes: Any) -> TaskSpec:
    plain = task_of(epsilon=epsilon, minimum_cohort=4)
    privacy: dict[str, Any] = {
        "epsilon": epsilon,
        "delta": plain.privacy.delta,
        "trust_mode": "distributed",
        "dropouts": DROPOUTS,
        "colluders": COLLUDERS,
        "max_brands_per_customer": brands_per_customer,
    }
    return plain.model_copy(update={"task_id": "masked", "privacy": PrivacyTarget(**{**privacy, **changes})})


@dataclass
class SecureRounds(Rounds):
    """A world whose officer approved a masked task for five brands, of which one may fail and one collude."""

    setup: RunSetup | None = field(default=None)

    def draw_up(self, *, brands: Sequence[str] | None = None, **changes: Any) -> RunSetup:
        """Return a setup as the service takes it, but for the changes."""
        brands = brands or self.brands
        values: dict[str, Any] = {
            "run_id": RUN,
            "task": self.task.digest(),
            "purpose": PURPOSE,
            "brands": tuple(EnrolledBrand(brand=brand, key=self.world.keys[brand].public_key) for brand in brands),
            "dropouts": DROPOUTS,
            "colluders": COLLUDERS,
            "slots": SLOTS,
            "enrolment": self.world.coordinator.enrolment(sorted(set(brands))),
            "opened_at": self.world.clock.now,
            "not_after": self.world.clock.now + timedelta(days=7),
        }
        return RunSetup(**{**values, **changes})

    def sealed(self, body: Any, signer: str = "coordinator") -> Any:
        """Sign a body, by default as the coordinator."""
        return Signed[type(body)].seal(body, self.world.keys[signer])  # type: ignore[misc]

    def set_up(self, setup: RunSetup | None = None) -> RunSetup:
        self.setup = setup or self.draw_up()
        self.world.coordinator.record_setup(self.sealed(self.setup))
        return self.setup

    def manifest(self, **changes: Any) -> RoundManifest:
        assert self.setup
        slot = changes.pop("slot", 0)
        mechanism = Mechanism(
            name="discrete_gaussian", sensitivity=1.0, noise_multiplier=changes.pop("noise", NOISE), grid=0.001
        )
        place = SecureSlot(setup=self.setup.digest(), slot=slot, ring_bits=32)
        return super().manifest(**{"secure_sum": place, "mechanism": mechanism, **changes})

    def closing(self, asked: RoundManifest, *missing: str, **changes: Any) -> Closing:
        names = sorted(line.brand for line in asked.participants)
        values: dict[str, Any] = {
            "run_id": asked.run_id,
            "round": asked.round,
            "attempt": asked.attempt,
            "manifest": asked.digest(),
            "arrived": tuple(name for name in names if name not in missing),
            "missing": tuple(sorted(missing)),
            "closed_at": self.world.clock.now,
        }
        return Closing(**{**values, **changes})

    def close(self, closing: Closing) -> None:
        self.world.coordinator.close_round(self.sealed(closing))

    def abandon(self, asked: RoundManifest, **changes: Any) -> None:
        values: dict[str, Any] = {
            "run_id": asked.run_id,
            "round": asked.round,
            "attempt": asked.attempt,
            "manifest": asked.digest(),
            "reason": "too_few_brands",
            "abandoned_at": self.world.clock.now,
        }
        self.world.coordinator.abandon_round(self.sealed(Abandonment(**{**values, **changes})))

    def release_closed(self, asked: RoundManifest, closing: Closing, /, **changes: Any) -> RoundRelease:
        values = {
            "attestations": tuple(self.attest(asked, brand) for brand in closing.arrived),
            "closing": closing.digest(),
            "noise_shares": len(closing.arrived) / (len(self.brands) - DROPOUTS - COLLUDERS),
        }
        return self.release(asked, **{**values, **changes})

    def give_back(self, brand: str, number: int = 0, *, signer: str | None = None, **changes: Any) -> None:
        values: dict[str, Any] = {
            "brand": brand,
            "run_id": RUN,
            "round": number,
            "purpose": PURPOSE,
            "stated_at": self.world.clock.now,
        }
        unspent = Unspent(**{**values, **changes})
        self.world.brand(signer or brand).state_unspent(self.sealed(unspent, signer or brand))


def rounds_of_five(world: Any, **changes: Any) -> SecureRounds:
    """Approve a masked task for five brands; a sixth one has customers, and no task."""
    for brand in (*BRANDS, "fern"):
        world.record(brand, Act.GRANT, *(digest(f"{brand}-{number}") for number in range(5)))
    assert world.coordinator
    task = masked_task(**changes)
    world.officer.approve_task(task, task.privacy.epsilon, BRANDS)
    return SecureRounds(world, task, BRANDS)
