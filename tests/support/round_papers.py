"""What is written of rounds: tasks, manifests, attestations, releases; and a world in which rounds may be held."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from consent.contract import (
    Act,
    Attestation,
    Label,
    Mechanism,
    NumericFeature,
    Participant,
    Phase,
    PrivacyTarget,
    RoundManifest,
    RoundRelease,
    Signed,
    SigningKey,
    SnapshotHead,
    TaskSpec,
)

PURPOSE = "conversion"
RUN = "run"
DELTA = 1e-6
NOISE = 16.0
CEILING = 1.0


def digest(label: object) -> str:
    return hashlib.sha256(str(label).encode()).hexdigest()


def task_of(*, epsilon: float = 2.0, minimum_cohort: int = 2) -> TaskSpec:
    return TaskSpec(
        task_id="propensity",
        purpose=PURPOSE,
        features=(NumericFeature(name="age", lower=18, upper=99),),
        label=Label(name="bought"),
        privacy=PrivacyTarget(epsilon=epsilon, delta=DELTA),
        minimum_cohort=minimum_cohort,
    )


def mechanism_of(noise: float) -> Mechanism:
    return Mechanism(sensitivity=1.0, noise_multiplier=noise, grid=0.001)


def manifest_of(
    approved: TaskSpec, participants: Sequence[Participant], now: datetime, **changes: Any
) -> RoundManifest:
    values: dict[str, Any] = {
        "run_id": RUN,
        "round": 0,
        "attempt": 0,
        "task": approved.digest(),
        "purpose": PURPOSE,
        "phase": Phase.GRADIENT,
        "model": digest("model"),
        "mechanism": mechanism_of(NOISE),
        "epsilon_before": 0.0,
        "epsilon_after": 1.0,
        "opened_at": now,
        "not_after": now + timedelta(hours=1),
        "participants": tuple(participants),
    }
    return RoundManifest(**{**values, **changes})


def attestation_of(asked: RoundManifest, brand: str, key: SigningKey, **changes: Any) -> Signed[Attestation]:
    line = asked.participant(brand)
    values: dict[str, Any] = {
        "brand": brand,
        "manifest": asked.digest(),
        "snapshot_root": line.snapshot.body.root if line else digest("none"),
        "payload": digest("payload"),
        "ledger_entry": 1,
        "epsilon_spent": 0.5,
        "noise": "system",
    }
    return Signed[Attestation].seal(Attestation(**{**values, **changes}), key)


def release_of(
    manifests: Sequence[RoundManifest], attestations: Sequence[Signed[Attestation]], **changes: Any
) -> RoundRelease:
    first = manifests[0]
    values: dict[str, Any] = {
        "run_id": first.run_id,
        "round": first.round,
        "task": first.task,
        "purpose": PURPOSE,
        "manifests": tuple(manifest.digest() for manifest in manifests),
        "attestations": tuple(attestations),
        "aggregate": digest("sum"),
        "model_before": digest("model"),
        "model_after": digest("next"),
        "state_after": digest("state"),
        "epsilon_spent": 0.5,
    }
    return RoundRelease(**{**values, **changes})


@dataclass
class Rounds:
    """A world whose officer approved a task for some brands."""

    world: Any
    task: TaskSpec
    brands: tuple[str, ...]

    @classmethod
    def approved(cls, world: Any, *brands: str, task: TaskSpec) -> "Rounds":
        assert world.coordinator
        for brand in brands:
            world.brand(brand)
        world.officer.approve_task(task, task.privacy.epsilon, brands)
        return cls(world, task, brands)

    def heads(self, brands: Sequence[str] | None = None) -> tuple[Signed[SnapshotHead], ...]:
        sealed = self.world.coordinator.seal_snapshots(PURPOSE, brands or self.brands)
        heads: tuple[Signed[SnapshotHead], ...] = sealed
        return heads

    def lines(
        self, brands: Sequence[str] | None = None, heads: Sequence[Signed[SnapshotHead]] | None = None
    ) -> tuple[Participant, ...]:
        """Return participants, by default all brands under heads that are sealed now."""
        brands = brands or self.brands
        return tuple(
            Participant(brand=brand, key=self.world.keys[brand].public_key, snapshot=head)
            for brand, head in zip(brands, heads or self.heads(brands), strict=True)
        )

    def manifest(self, **changes: Any) -> RoundManifest:
        participants = changes.pop("participants", None) or self.lines()
        return manifest_of(self.task, participants, self.world.clock.now, **changes)

    def open(self, manifest: RoundManifest) -> None:
        self.world.coordinator.open_round(Signed[RoundManifest].seal(manifest, self.world.keys["coordinator"]))

    def attest(self, asked: RoundManifest, brand: str, **changes: Any) -> Signed[Attestation]:
        return attestation_of(asked, brand, self.world.keys[brand], **changes)

    def release(self, *manifests: RoundManifest, **changes: Any) -> RoundRelease:
        """Return a release that everybody who was asked attested, unless `attestations` are given."""
        given = changes.pop("attestations", None)
        if given is None:
            asked = [(manifest, line.brand) for manifest in manifests for line in manifest.participants]
            given = tuple(self.attest(manifest, brand) for manifest, brand in asked)
        return release_of(manifests, given, **changes)

    def commit(self, release: RoundRelease) -> None:
        self.world.coordinator.commit_release(Signed[RoundRelease].seal(release, self.world.keys["coordinator"]))

    def log_size(self) -> int:
        return int(self.world.coordinator.checkpoint().splitlines()[1])


def rounds_of_two(world: Any) -> Rounds:
    """Approve a task whose claim is used up soon for two brands; a third one has customers, and no task."""
    for brand in ("acme", "bolt", "crux"):
        world.record(brand, Act.GRANT, *(digest(f"{brand}-{number}") for number in range(5)))
    return Rounds.approved(world, "acme", "bolt", task=task_of(epsilon=CEILING, minimum_cohort=4))
