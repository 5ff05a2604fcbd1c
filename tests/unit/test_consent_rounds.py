"""Permission of rounds: every refusal, what is reserved, and when attempts and rounds are too many."""

from collections.abc import Callable
from typing import Any

import pytest
from round_papers import CEILING, DELTA, NOISE, RUN, Rounds, digest, mechanism_of, rounds_of_two

from consent import errors
from consent.contract import Act, Phase, RoundManifest, Signed, SigningKey, SnapshotHead
from privacy.accounting import epsilon


@pytest.fixture
def rounds(consent_world: Any) -> Rounds:
    return rounds_of_two(consent_world)


def test_an_opened_round_reserves_and_a_release_commits(rounds: Rounds) -> None:
    manifest = rounds.manifest()
    rounds.open(manifest)
    cost = epsilon([NOISE], DELTA)
    (reserved,) = rounds.world.coordinator.budgets("acme")
    assert (reserved.spent, reserved.reserved, reserved.ceiling) == (0.0, pytest.approx(cost), CEILING)
    rounds.commit(rounds.release(manifest))
    (spent,) = rounds.world.officer.budgets("acme")
    assert (spent.spent, spent.reserved) == (pytest.approx(cost), 0.0)
    record = rounds.world.coordinator.run(RUN)
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
    return rounds.manifest(mechanism=mechanism_of(1.0), epsilon_after=10.0)


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
