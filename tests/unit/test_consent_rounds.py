"""Permission of rounds: every refusal, what is reserved, and that a release is committed once."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from consent import errors
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
from consent.wire import Role
from privacy.accounting import epsilon

PURPOSE = "conversion"
DELTA = 1e-6
COHORT = 4
CEILING = 1.0
NOISE = 16.0


def digest(label: str) -> str:
    return hashlib.sha256(str(label).encode()).hexdigest()


@dataclass
class Rounds:
    """A world with an approved task and two brands of five customers."""

    world: Any
    task: TaskSpec

    def heads(self, brands: Sequence[str] = ("acme", "bolt")) -> tuple[Signed[SnapshotHead], ...]:
        heads: tuple[Signed[SnapshotHead], ...] = self.world.coordinator.seal_snapshots(PURPOSE, brands)
        return heads

    def lines(self, brands: Sequence[str] = ("acme", "bolt")) -> tuple[Participant, ...]:
        return tuple(
            Participant(brand=brand, key=self.world.keys[brand].public_key, snapshot=head)
            for brand, head in zip(brands, self.heads(brands), strict=True)
        )

    def manifest(self, **changes: Any) -> RoundManifest:
        values: dict[str, Any] = {
            "run_id": "run-1",
            "round": 0,
            "attempt": 0,
            "task": self.task.digest(),
            "purpose": PURPOSE,
            "phase": Phase.GRADIENT,
            "model": digest("model"),
            "mechanism": Mechanism(sensitivity=1.0, noise_multiplier=NOISE, grid=0.001),
            "epsilon_before": 0.0,
            "epsilon_after": CEILING,
            "opened_at": self.world.clock.now,
            "not_after": self.world.clock.now + timedelta(hours=1),
        }
        if "participants" not in changes:
            changes["participants"] = self.lines()
        return RoundManifest(**{**values, **changes})

    def open(self, manifest: RoundManifest) -> None:
        self.world.coordinator.open_round(Signed[RoundManifest].seal(manifest, self.world.keys["coordinator"]))

    def attest(self, asked: RoundManifest, brand: str, **changes: Any) -> Signed[Attestation]:
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
        return Signed[Attestation].seal(Attestation(**{**values, **changes}), self.world.keys[brand])

    def release(self, *manifests: RoundManifest, **changes: Any) -> RoundRelease:
        first = manifests[0]
        values: dict[str, Any] = {
            "run_id": first.run_id,
            "round": first.round,
            "task": first.task,
            "purpose": PURPOSE,
            "manifests": tuple(manifest.digest() for manifest in manifests),
            "attestations": tuple(
                self.attest(manifest, line.brand) for manifest in manifests for line in manifest.participants
            ),
            "aggregate": digest("sum"),
            "model_before": digest("model"),
            "model_after": digest("next"),
            "state_after": digest("state"),
            "epsilon_spent": 0.5,
        }
        return RoundRelease(**{**values, **changes})

    def commit(self, release: RoundRelease) -> None:
        self.world.coordinator.commit_release(Signed[RoundRelease].seal(release, self.world.keys["coordinator"]))

    def log_size(self) -> int:
        return int(self.world.coordinator.checkpoint().splitlines()[1])


@pytest.fixture
def rounds(consent_world: Any) -> Rounds:
    world = consent_world
    task = TaskSpec(
        task_id="propensity",
        purpose=PURPOSE,
        features=(NumericFeature(name="age", lower=18, upper=99),),
        label=Label(name="bought"),
        privacy=PrivacyTarget(epsilon=CEILING, delta=DELTA),
        minimum_cohort=COHORT,
    )
    for brand in ("acme", "bolt", "crux"):
        world.record(brand, Act.GRANT, *(digest(f"{brand}-{number}") for number in range(5)))
    assert world.coordinator
    world.officer.approve_task(task, CEILING, ["acme", "bolt"])
    return Rounds(world, task)


def test_an_opened_round_reserves_and_a_release_commits(rounds: Rounds) -> None:
    manifest = rounds.manifest()
    rounds.open(manifest)
    cost = epsilon([NOISE], DELTA)
    (reserved,) = rounds.world.coordinator.budgets("acme")
    assert (reserved.spent, reserved.reserved, reserved.ceiling) == (0.0, pytest.approx(cost), CEILING)
    rounds.commit(rounds.release(manifest))
    (spent,) = rounds.world.officer.budgets("acme")
    assert (spent.spent, spent.reserved) == (pytest.approx(cost), 0.0)
    record = rounds.world.coordinator.run("run-1")
    assert [signed.body for signed in record.manifests] == [manifest]
    assert [signed.body.model_after for signed in record.releases] == [digest("next")]


def _wrong_task(rounds: Rounds) -> RoundManifest:
    return rounds.manifest(task=digest("another task"))


def _wrong_purpose(rounds: Rounds) -> RoundManifest:
    return rounds.manifest(purpose="churn")


def _brand_not_approved(rounds: Rounds) -> RoundManifest:
    return rounds.manifest(participants=rounds.lines(("acme", "crux")))


def _foreign_key(rounds: Rounds) -> RoundManifest:
    first, second = rounds.lines()
    return rounds.manifest(participants=(first, second.model_copy(update={"key": first.key})))


def _brand_twice(rounds: Rounds) -> RoundManifest:
    first, _ = rounds.lines()
    return rounds.manifest(participants=(first, first))


def _swapped_snapshots(rounds: Rounds) -> RoundManifest:
    first, second = rounds.lines()
    swapped = second.model_copy(update={"snapshot": first.snapshot})
    return rounds.manifest(participants=(first, swapped))


def _forged_snapshot(rounds: Rounds) -> RoundManifest:
    first, second = rounds.lines()
    forged = Signed[SnapshotHead].seal(second.snapshot.body, SigningKey.generate())
    return rounds.manifest(participants=(first, second.model_copy(update={"snapshot": forged})))


def _withdrawn_since(rounds: Rounds) -> RoundManifest:
    manifest = rounds.manifest()
    rounds.world.record("acme", Act.WITHDRAW, digest("acme-0"))
    return manifest


def _snapshot_expired(rounds: Rounds) -> RoundManifest:
    lines = rounds.lines()
    rounds.world.clock.advance(86_400)
    return rounds.manifest(participants=lines)


def _cohort_too_small(rounds: Rounds) -> RoundManifest:
    rounds.world.record("acme", Act.WITHDRAW, digest("acme-0"), digest("acme-1"))
    return rounds.manifest()


def _over_the_ceiling(rounds: Rounds) -> RoundManifest:
    mechanism = Mechanism(sensitivity=1.0, noise_multiplier=1.0, grid=0.001)
    return rounds.manifest(mechanism=mechanism, epsilon_after=10.0)


def _over_the_claim(rounds: Rounds) -> RoundManifest:
    return rounds.manifest(epsilon_after=epsilon([NOISE], DELTA) * 0.99)


def _over(rounds: Rounds) -> RoundManifest:
    return rounds.manifest(not_after=rounds.world.clock.now)


REFUSALS: dict[str, tuple[Callable[[Rounds], RoundManifest], type[errors.ConsentError]]] = {
    "task not approved": (_wrong_task, errors.TaskNotApprovedError),
    "another purpose": (_wrong_purpose, errors.RoundRefusedError),
    "brand not approved": (_brand_not_approved, errors.TaskNotApprovedError),
    "key not enrolled": (_foreign_key, errors.ParticipantNotEnrolledError),
    "brand twice": (_brand_twice, errors.RoundRefusedError),
    "another brand's snapshot": (_swapped_snapshots, errors.RoundRefusedError),
    "snapshot not signed by the service": (_forged_snapshot, errors.SignatureError),
    "withdrawal since the snapshot": (_withdrawn_since, errors.StaleSnapshotError),
    "snapshot expired": (_snapshot_expired, errors.StaleSnapshotError),
    "cohort below the minimum": (_cohort_too_small, errors.CohortTooSmallError),
    "over the approved ceiling": (_over_the_ceiling, errors.BudgetRefusedError),
    "over what the manifest claims": (_over_the_claim, errors.BudgetRefusedError),
    "its time is over": (_over, errors.RoundRefusedError),
}


@pytest.mark.parametrize(("make", "error"), REFUSALS.values(), ids=REFUSALS)
def test_a_round_is_refused(
    rounds: Rounds, make: Callable[[Rounds], RoundManifest], error: type[errors.ConsentError]
) -> None:
    manifest = make(rounds)
    before = rounds.log_size()
    with pytest.raises(errors.ConsentError) as caught:
        rounds.open(manifest)
    assert type(caught.value) is error
    assert rounds.log_size() == before
    assert all(budget.reserved == 0 for budget in rounds.world.coordinator.budgets("acme"))


def test_a_manifest_signed_by_another_key_is_refused(rounds: Rounds) -> None:
    with pytest.raises(errors.SignatureError):
        rounds.world.coordinator.open_round(
            Signed[RoundManifest].seal(rounds.manifest(), rounds.world.keys["acme"])
        )


def test_opening_twice_changes_nothing(rounds: Rounds) -> None:
    manifest = rounds.manifest()
    rounds.open(manifest)
    before = rounds.log_size()
    rounds.open(manifest)
    assert rounds.log_size() == before


def test_a_later_attempt_does_not_reserve_twice(rounds: Rounds) -> None:
    exact = epsilon([NOISE], DELTA)
    rounds.open(rounds.manifest(epsilon_after=exact))
    before = rounds.world.coordinator.budgets("acme")
    rounds.open(rounds.manifest(attempt=1, epsilon_after=exact))
    assert rounds.world.coordinator.budgets("acme") == before


@pytest.mark.parametrize(
    "changes", [{"model": digest("other")}, {"phase": Phase.MARGINALS}], ids=["model", "phase"]
)
def test_a_later_attempt_asks_for_the_same(rounds: Rounds, changes: dict[str, Any]) -> None:
    rounds.open(rounds.manifest())
    with pytest.raises(errors.ConflictError):
        rounds.open(rounds.manifest(attempt=1, **changes))


def test_an_attempt_number_is_used_once(rounds: Rounds) -> None:
    rounds.open(rounds.manifest())
    with pytest.raises(errors.ConflictError):
        rounds.open(rounds.manifest(participants=rounds.lines(("acme",))))


def test_rounds_add_up_until_the_ceiling(rounds: Rounds) -> None:
    affordable = next(count for count in range(1, 99) if epsilon([NOISE] * (count + 1), DELTA) > CEILING)
    for number in range(affordable):
        rounds.open(rounds.manifest(round=number))
    with pytest.raises(errors.BudgetRefusedError):
        rounds.open(rounds.manifest(round=affordable))


def test_a_release_is_committed_once(rounds: Rounds) -> None:
    manifest = rounds.manifest()
    rounds.open(manifest)
    release = rounds.release(manifest)
    rounds.commit(release)
    before = rounds.log_size()
    rounds.commit(release)
    assert rounds.log_size() == before
    with pytest.raises(errors.ConflictError):
        rounds.commit(release.model_copy(update={"model_after": digest("forged")}))
    with pytest.raises(errors.ConflictError):
        rounds.open(rounds.manifest(attempt=1))


def test_a_dropout_stays_reserved(rounds: Rounds) -> None:
    manifest = rounds.manifest()
    rounds.open(manifest)
    rounds.commit(rounds.release(manifest, attestations=(rounds.attest(manifest, "acme"),)))
    (answered,), (dropped) = rounds.world.officer.budgets("acme"), rounds.world.officer.budgets("bolt")
    assert answered.reserved == 0 < answered.spent
    assert dropped[0].spent == 0 < dropped[0].reserved


def test_a_release_spans_attempts(rounds: Rounds) -> None:
    first = rounds.manifest()
    rounds.open(first)
    second = rounds.manifest(attempt=1, participants=rounds.lines(("bolt",)))
    rounds.open(second)
    attestations = (rounds.attest(first, "acme"), rounds.attest(second, "bolt"))
    rounds.commit(rounds.release(first, second, attestations=attestations))
    assert all(rounds.world.officer.budgets(brand)[0].reserved == 0 for brand in ("acme", "bolt"))


def _other_root(rounds: Rounds, manifest: RoundManifest) -> RoundRelease:
    return rounds.release(manifest, attestations=(rounds.attest(manifest, "acme", snapshot_root=digest("stale")),))


def _attested_by_another(rounds: Rounds, manifest: RoundManifest) -> RoundRelease:
    genuine = rounds.attest(manifest, "acme").body
    return rounds.release(manifest, attestations=(Signed[Attestation].seal(genuine, rounds.world.keys["bolt"]),))


def _attested_twice(rounds: Rounds, manifest: RoundManifest) -> RoundRelease:
    twice = (rounds.attest(manifest, "acme"), rounds.attest(manifest, "acme", ledger_entry=2))
    return rounds.release(manifest, attestations=twice)


def _not_asked(rounds: Rounds, manifest: RoundManifest) -> RoundRelease:
    return rounds.release(manifest, attestations=(rounds.attest(manifest, "crux"),))


def _another_manifest(rounds: Rounds, manifest: RoundManifest) -> RoundRelease:
    return rounds.release(manifest, attestations=(rounds.attest(manifest, "acme", manifest=digest("other")),))


def _never_opened(rounds: Rounds, manifest: RoundManifest) -> RoundRelease:
    return rounds.release(manifest, rounds.manifest(attempt=7))


def _no_such_round(rounds: Rounds, manifest: RoundManifest) -> RoundRelease:
    return rounds.release(manifest, round=9)


RELEASE_REFUSALS: dict[str, tuple[Callable[[Rounds, RoundManifest], RoundRelease], type[errors.ConsentError]]] = {
    "another root": (_other_root, errors.RoundRefusedError),
    "another brand's signature": (_attested_by_another, errors.SignatureError),
    "a brand twice": (_attested_twice, errors.RoundRefusedError),
    "a brand that was not asked": (_not_asked, errors.RoundRefusedError),
    "another manifest": (_another_manifest, errors.RoundRefusedError),
    "an attempt never opened": (_never_opened, errors.RoundRefusedError),
    "a round never opened": (_no_such_round, errors.NotFoundError),
}


@pytest.mark.parametrize(("make", "error"), RELEASE_REFUSALS.values(), ids=RELEASE_REFUSALS)
def test_a_release_is_refused(
    rounds: Rounds,
    make: Callable[[Rounds, RoundManifest], RoundRelease],
    error: type[errors.ConsentError],
) -> None:
    manifest = rounds.manifest()
    rounds.open(manifest)
    before = rounds.log_size()
    with pytest.raises(errors.ConsentError) as caught:
        rounds.commit(make(rounds, manifest))
    assert type(caught.value) is error
    assert rounds.log_size() == before
    assert rounds.world.officer.budgets("acme")[0].spent == 0


def test_a_customer_can_learn_the_rounds_they_were_in(rounds: Rounds) -> None:
    early, late, stranger = digest("acme-0"), digest("acme-new"), digest("nobody")
    first = rounds.manifest(round=0)
    rounds.open(first)
    rounds.commit(rounds.release(first))
    rounds.world.record("acme", Act.WITHDRAW, early)
    rounds.world.record("acme", Act.GRANT, late)
    rounds.open(rounds.manifest(round=1))
    cost = epsilon([NOISE], DELTA)
    (was,) = rounds.world.officer.participation("acme", early)
    assert (was.round, was.purpose, was.released, was.epsilon) == (0, PURPOSE, True, pytest.approx(cost))
    (still,) = rounds.world.brand("acme").participation("acme", late)
    assert (still.round, still.released) == (1, False)
    both = rounds.world.officer.participation("acme", digest("acme-4"))
    assert [one.round for one in both] == [0, 1]
    assert both[1].epsilon_so_far == pytest.approx(epsilon([NOISE, NOISE], DELTA))
    assert rounds.world.officer.participation("acme", stranger) == ()


def test_another_coordinator_sees_nothing_of_a_run(rounds: Rounds) -> None:
    manifest = rounds.manifest()
    rounds.open(manifest)
    other = rounds.world.enrol(Role.COORDINATOR, "other")
    with pytest.raises(errors.NotFoundError):
        other.run("run-1")
    with pytest.raises(errors.NotFoundError):
        other.commit_release(Signed[RoundRelease].seal(rounds.release(manifest), rounds.world.keys["other"]))
