"""Releases of rounds: every refusal, what they spend, that they are committed once, and what customers learn."""

from collections.abc import Callable
from typing import Any

import pytest
from round_papers import DELTA, NOISE, PURPOSE, RUN, Rounds, digest, rounds_of_two

from consent import errors
from consent.contract import Act, Attestation, RoundManifest, RoundRelease, Signed
from consent.wire import Role
from privacy.accounting import epsilon


@pytest.fixture
def rounds(consent_world: Any) -> Rounds:
    return rounds_of_two(consent_world)


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
        other.run(RUN)
    with pytest.raises(errors.NotFoundError):
        other.commit_release(Signed[RoundRelease].seal(rounds.release(manifest), rounds.world.keys["other"]))
