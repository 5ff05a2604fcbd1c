"""Rounds of secure sums in the consent service: setups, attempts, closings, releases, and what is given back."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from round_papers import PURPOSE, RUN, digest, mechanism_of, rounds_of_two
from secure_papers import BRANDS, SLOTS, SecureRounds, masked_task, rounds_of_five

from consent import errors
from consent.contract import (
    Closing,
    EnrolledBrand,
    Enrolment,
    RoundManifest,
    RoundRelease,
    RunSetup,
    SecureSlot,
    Signed,
    SigningKey,
)
from consent.service.timeline import opened
from consent.wire import Role


@pytest.fixture
def rounds(consent_world: Any) -> SecureRounds:
    return rounds_of_five(consent_world)


@pytest.fixture
def run(rounds: SecureRounds) -> SecureRounds:
    """A run that is set up."""
    rounds.set_up()
    return rounds


def kinds(rounds: SecureRounds, start: int) -> list[str]:
    with rounds.world.app.state.workplace.reading() as unit:
        return [hit.payload["kind"] for hit in opened(unit, range(start, rounds.log_size()))]


def held(rounds: SecureRounds, brand: str) -> tuple[bool, bool]:
    """Whether a brand has something spent, and something reserved."""
    (budget,) = rounds.world.officer.budgets(brand)
    return budget.spent > 0, budget.reserved > 0


def test_every_step_is_one_entry_and_repeats_are_none(rounds: SecureRounds) -> None:
    start = rounds.log_size()
    setup = rounds.set_up()
    rounds.set_up(setup)
    heads = rounds.heads()
    first = rounds.manifest(participants=rounds.lines(heads=heads))
    rounds.open(first)
    rounds.abandon(first)
    rounds.abandon(first, reason="timed_out")
    second = rounds.manifest(attempt=1, slot=1, participants=rounds.lines(heads=heads))
    rounds.open(second)
    closing = rounds.closing(second, "dory")
    rounds.close(closing)
    rounds.close(closing)
    release = rounds.release_closed(second, closing)
    rounds.commit(release)
    rounds.commit(release)
    assert kinds(rounds, start) == [
        "run_set_up",
        *["snapshot_sealed"] * 5,
        "round_opened",
        "round_abandoned",
        "round_opened",
        "round_closed",
        "release_committed",
    ]
    assert {brand: held(rounds, brand) for brand in BRANDS} == {
        **dict.fromkeys(BRANDS, (True, False)),
        "dory": (False, True),
    }
    record = rounds.world.coordinator.run(RUN)
    assert record.setup is not None
    assert record.setup.body == setup
    assert [one.body for one in record.closings] == [closing]
    assert [one.body.manifest for one in record.abandonments] == [first.digest()]
    assert [one.body for one in record.manifests] == [first, second]
    assert [one.body for one in record.releases] == [release]
    page = rounds.world.http.get(
        f"/v1/runs/{RUN}",
        params={"limit": 1},
        headers={"Authorization": f"Bearer {rounds.world.tokens['coordinator']}"},
    ).json()
    assert page["setup"] is not None
    assert page["manifests"] == []
    assert page["cursor"] is not None


def test_a_run_without_rounds_is_its_coordinators(run: SecureRounds) -> None:
    assert run.world.coordinator.run(RUN).setup is not None
    with pytest.raises(errors.NotFoundError):
        run.world.enrol(Role.COORDINATOR, "other").run(RUN)


# Setups


def _unsorted(rounds: SecureRounds) -> RunSetup:
    setup = rounds.draw_up()
    return setup.model_copy(update={"brands": setup.brands[::-1]})


def _twice(rounds: SecureRounds) -> RunSetup:
    setup = rounds.draw_up()
    return setup.model_copy(update={"brands": (*setup.brands, setup.brands[-1])})


def _foreign_key(rounds: SecureRounds) -> RunSetup:
    setup = rounds.draw_up()
    forged = EnrolledBrand(brand="etna", key=SigningKey.generate().public_key)
    return setup.model_copy(update={"brands": (*setup.brands[:-1], forged)})


def _sybil_in_its_own_enrolment(rounds: SecureRounds) -> RunSetup:
    """The coordinator states a brand of its own under a key that the service never saw."""
    setup = rounds.draw_up()
    own = Enrolment(**{**setup.enrolment.body.model_dump(), "log_size": 0})
    return setup.model_copy(update={"enrolment": Signed[Enrolment].seal(own, rounds.world.keys["coordinator"])})


def _not_in_the_enrolment(rounds: SecureRounds) -> RunSetup:
    return rounds.draw_up().model_copy(update={"enrolment": rounds.world.coordinator.enrolment(BRANDS[:4])})


def _renewed_since(rounds: SecureRounds) -> RunSetup:
    setup = rounds.draw_up()
    rounds.world.operator.enrol(Role.BRAND, "acme", SigningKey.generate().public_key)
    return setup


def _not_approved(rounds: SecureRounds) -> RunSetup:
    return rounds.draw_up(brands=(*BRANDS, "fern"))


def _enrolment_over(rounds: SecureRounds) -> RunSetup:
    setup = rounds.draw_up()
    rounds.world.clock.advance(3_600)
    return setup


SETUPS: dict[str, tuple[Callable[[SecureRounds], RunSetup], type[errors.ConsentError]]] = {
    "brands out of order": (_unsorted, errors.RoundRefusedError),
    "a brand twice": (_twice, errors.RoundRefusedError),
    "a key that is not enrolled": (_foreign_key, errors.ParticipantNotEnrolledError),
    "an enrolment that the service did not sign": (_sybil_in_its_own_enrolment, errors.SignatureError),
    "a brand that the enrolment does not state": (_not_in_the_enrolment, errors.ParticipantNotEnrolledError),
    "a key that was renewed since": (_renewed_since, errors.ParticipantNotEnrolledError),
    "a brand that the task may not ask": (_not_approved, errors.TaskNotApprovedError),
    "an enrolment from too long ago": (_enrolment_over, errors.RoundRefusedError),
    "time over": (lambda one: one.draw_up(not_after=one.world.clock.now), errors.RoundRefusedError),
    "task not approved": (lambda one: one.draw_up(task=digest("other")), errors.TaskNotApprovedError),
    "another purpose": (lambda one: one.draw_up(purpose="churn"), errors.RoundRefusedError),
    "other dropouts than the task's": (lambda one: one.draw_up(dropouts=0), errors.RoundRefusedError),
    "other colluders than the task's": (lambda one: one.draw_up(colluders=0), errors.RoundRefusedError),
    "too few brands for them": (lambda one: one.draw_up(brands=BRANDS[:3]), errors.RoundRefusedError),
}


@pytest.mark.parametrize(("make", "error"), SETUPS.values(), ids=SETUPS)
def test_a_setup_is_refused(
    rounds: SecureRounds, make: Callable[[SecureRounds], RunSetup], error: type[errors.ConsentError]
) -> None:
    setup = make(rounds)
    before = rounds.log_size()
    with pytest.raises(errors.ConsentError) as caught:
        rounds.set_up(setup)
    assert type(caught.value) is error
    assert rounds.log_size() == before


def test_a_run_is_set_up_once(run: SecureRounds) -> None:
    with pytest.raises(errors.ConflictError):
        run.set_up(run.draw_up(slots=SLOTS + 1))
    with pytest.raises(errors.SignatureError):
        run.world.coordinator.record_setup(run.sealed(run.draw_up(), "acme"))
    other = run.world.enrol(Role.COORDINATOR, "other")
    with pytest.raises(errors.ConflictError):
        other.record_setup(run.sealed(run.draw_up(), "other"))


def test_a_local_task_has_no_setup_and_its_run_no_secure_sum(consent_world: Any) -> None:
    plain = rounds_of_two(consent_world)
    plain.open(plain.manifest())
    rounds = rounds_of_five(consent_world)
    with pytest.raises(errors.ConflictError, match="from before its setup"):
        rounds.set_up()
    with pytest.raises(errors.RoundRefusedError, match="mode `local`"):
        rounds.set_up(rounds.draw_up(run_id="other", task=plain.task.digest(), dropouts=0))
    rounds.set_up(rounds.draw_up(run_id="masked"))
    place = SecureSlot(setup=rounds.setup.digest(), slot=0, ring_bits=32) if rounds.setup else None
    for changes in ({"secure_sum": place}, {"run_id": "masked"}):
        with pytest.raises(errors.ConflictError):
            plain.open(plain.manifest(round=1, **changes))


# Attempts


def _slot_used(run: SecureRounds) -> RoundManifest:
    run.open(run.manifest())
    return run.manifest(attempt=1)


def _after_the_closing(run: SecureRounds) -> RoundManifest:
    manifest = run.manifest()
    run.open(manifest)
    run.close(run.closing(manifest))
    return run.manifest(attempt=1, slot=1)


def _run_over(run: SecureRounds) -> RoundManifest:
    run.world.clock.advance(7 * 86_400)
    return run.manifest()


def _outside_the_setup(run: SecureRounds) -> RoundManifest:
    run.world.officer.approve_task(run.task, 2.0, ["fern"])
    return run.manifest(participants=run.lines((*BRANDS, "fern")))


ATTEMPTS: dict[str, tuple[Callable[[SecureRounds], RoundManifest], type[errors.ConsentError]]] = {
    "another setup": (
        lambda run: run.manifest(secure_sum=SecureSlot(setup=digest("other"), slot=0, ring_bits=32)),
        errors.RoundRefusedError,
    ),
    "no secure sum": (lambda run: run.manifest(secure_sum=None), errors.RoundRefusedError),
    "noise of another mode": (lambda run: run.manifest(mechanism=mechanism_of(16.0)), errors.RoundRefusedError),
    "a slot that was used": (_slot_used, errors.RoundRefusedError),
    "a slot beyond the setup": (lambda run: run.manifest(slot=SLOTS), errors.RoundRefusedError),
    "a run without setup": (lambda run: run.manifest(run_id="other"), errors.RoundRefusedError),
    "too few brands": (lambda run: run.manifest(participants=run.lines(BRANDS[:3])), errors.RoundRefusedError),
    "a brand outside the setup": (_outside_the_setup, errors.ParticipantNotEnrolledError),
    "a closed round": (_after_the_closing, errors.ConflictError),
    "a run that is over": (_run_over, errors.RoundRefusedError),
}


@pytest.mark.parametrize(("make", "error"), ATTEMPTS.values(), ids=ATTEMPTS)
def test_an_attempt_is_refused(
    run: SecureRounds, make: Callable[[SecureRounds], RoundManifest], error: type[errors.ConsentError]
) -> None:
    manifest = make(run)
    before = run.log_size()
    with pytest.raises(errors.ConsentError) as caught:
        run.open(manifest)
    assert type(caught.value) is error
    assert run.log_size() == before


def test_as_many_brands_as_may_fail_are_left_out(run: SecureRounds) -> None:
    run.open(run.manifest(participants=run.lines(BRANDS[:4])))
    assert held(run, "etna") == (False, False)


# Closings and abandonments


def _abandoned(run: SecureRounds, manifest: RoundManifest) -> Closing:
    run.abandon(manifest)
    return run.closing(manifest)


def _superseded(run: SecureRounds, manifest: RoundManifest) -> Closing:
    run.open(run.manifest(attempt=1, slot=1))
    return run.closing(manifest)


def _gave_back(run: SecureRounds, manifest: RoundManifest) -> Closing:
    run.world.clock.advance(3_600)
    run.give_back("acme")
    return run.closing(manifest)


CLOSINGS: dict[str, tuple[Callable[[SecureRounds, RoundManifest], Closing], type[errors.ConsentError]]] = {
    "somebody left out": (
        lambda run, manifest: run.closing(manifest, arrived=BRANDS[:4]),
        errors.RoundRefusedError,
    ),
    "somebody who was not asked": (
        lambda run, manifest: run.closing(manifest, arrived=(*BRANDS, "fern")),
        errors.RoundRefusedError,
    ),
    "too few": (lambda run, manifest: run.closing(manifest, "acme", "bolt"), errors.RoundRefusedError),
    "another attempt": (lambda run, manifest: run.closing(manifest, attempt=1), errors.NotFoundError),
    "another round": (lambda run, manifest: run.closing(manifest, round=1), errors.NotFoundError),
    "an attempt never opened": (
        lambda run, manifest: run.closing(manifest, manifest=digest("other")),
        errors.NotFoundError,
    ),
    "an abandoned attempt": (_abandoned, errors.ConflictError),
    "an attempt before the last": (_superseded, errors.ConflictError),
    "a brand that gave its reservation back": (_gave_back, errors.RoundRefusedError),
}


@pytest.mark.parametrize(("make", "error"), CLOSINGS.values(), ids=CLOSINGS)
def test_a_closing_is_refused(
    run: SecureRounds,
    make: Callable[[SecureRounds, RoundManifest], Closing],
    error: type[errors.ConsentError],
) -> None:
    manifest = run.manifest()
    run.open(manifest)
    closing = make(run, manifest)
    before = run.log_size()
    with pytest.raises(errors.ConsentError) as caught:
        run.close(closing)
    assert type(caught.value) is error
    assert run.log_size() == before


def test_a_round_is_closed_once_and_for_all(run: SecureRounds) -> None:
    manifest = run.manifest()
    run.open(manifest)
    run.close(run.closing(manifest))
    with pytest.raises(errors.ConflictError, match="closed already"):
        run.close(run.closing(manifest, "dory"))
    with pytest.raises(errors.ConflictError, match="can not be abandoned"):
        run.abandon(manifest)
    with pytest.raises(errors.SignatureError):
        run.world.coordinator.close_round(run.sealed(run.closing(manifest), "acme"))
    other = run.world.enrol(Role.COORDINATOR, "other")
    with pytest.raises(errors.NotFoundError):
        other.close_round(run.sealed(run.closing(manifest), "other"))


def test_a_local_attempt_is_neither_closed_nor_abandoned(consent_world: Any) -> None:
    plain = rounds_of_two(consent_world)
    manifest = plain.manifest()
    plain.open(manifest)
    desk = SecureRounds(consent_world, plain.task, plain.brands)
    with pytest.raises(errors.RoundRefusedError, match="mode `local`"):
        desk.close(desk.closing(manifest))
    with pytest.raises(errors.RoundRefusedError, match="mode `local`"):
        desk.abandon(manifest)
    for changes in ({"closing": digest("one")}, {"noise_shares": 2.0}):
        with pytest.raises(errors.RoundRefusedError):
            plain.commit(plain.release(manifest, **changes))
    plain.commit(plain.release(manifest))


# Releases

RELEASES: dict[str, Callable[[SecureRounds, RoundManifest, Closing], RoundRelease]] = {
    "no closing": lambda run, asked, closing: run.release_closed(asked, closing, closing=None),
    "another closing": lambda run, asked, closing: run.release_closed(asked, run.closing(asked)),
    "a brand fewer": lambda run, asked, closing: run.release_closed(
        asked, closing, attestations=tuple(run.attest(asked, brand) for brand in closing.arrived[1:])
    ),
    "a brand that is missing": lambda run, asked, closing: run.release_closed(
        asked, closing, attestations=tuple(run.attest(asked, brand) for brand in BRANDS)
    ),
    "other noise": lambda run, asked, closing: run.release_closed(asked, closing, noise_shares=1.0),
}


@pytest.mark.parametrize("make", RELEASES.values(), ids=RELEASES)
def test_a_release_is_of_what_was_closed(
    run: SecureRounds, make: Callable[[SecureRounds, RoundManifest, Closing], RoundRelease]
) -> None:
    manifest = run.manifest()
    run.open(manifest)
    closing = run.closing(manifest, "etna")
    run.close(closing)
    before = run.log_size()
    with pytest.raises(errors.RoundRefusedError):
        run.commit(make(run, manifest, closing))
    assert run.log_size() == before
    run.commit(run.release_closed(manifest, closing))


def test_nothing_is_released_before_its_closing_or_of_an_earlier_attempt(run: SecureRounds) -> None:
    first = run.manifest()
    run.open(first)
    with pytest.raises(errors.RoundRefusedError, match="not closed"):
        run.commit(run.release_closed(first, run.closing(first)))
    second = run.manifest(attempt=1, slot=1)
    run.open(second)
    closing = run.closing(second)
    run.close(closing)
    with pytest.raises(errors.RoundRefusedError, match="attempt that was closed"):
        run.commit(run.release_closed(first, closing))


# What is given back


def test_a_reservation_is_given_back_once_no_attempt_asks_any_more(run: SecureRounds) -> None:
    first = run.manifest()
    run.open(first)
    with pytest.raises(errors.ConflictError, match="come back"):
        run.give_back("acme")
    run.world.clock.advance(1_800)
    run.open(run.manifest(attempt=1, slot=1, participants=run.lines(BRANDS[:4])))
    run.world.clock.advance(1_800)
    with pytest.raises(errors.ConflictError, match="come back"):
        run.give_back("acme")
    run.give_back("etna")
    assert (held(run, "acme"), held(run, "etna")) == ((False, True), (False, False))
    before = run.log_size()
    run.give_back("etna")
    assert run.log_size() == before


def test_a_later_attempt_reserves_what_was_given_back_anew(run: SecureRounds) -> None:
    run.open(run.manifest())
    run.world.clock.advance(3_600)
    run.give_back("acme")
    again = run.manifest(attempt=1, slot=1)
    run.open(again)
    assert held(run, "acme") == (False, True)
    closing = run.closing(again)
    run.close(closing)
    run.commit(run.release_closed(again, closing))
    assert held(run, "acme") == (True, False)


def test_what_is_spent_is_not_given_back(run: SecureRounds) -> None:
    manifest = run.manifest()
    run.open(manifest)
    closing = run.closing(manifest, "dory")
    run.close(closing)
    run.world.clock.advance(3_600)
    with pytest.raises(errors.ConflictError, match="is spent"):
        run.give_back("acme")
    run.commit(run.release_closed(manifest, closing))
    with pytest.raises(errors.ConflictError, match="is spent"):
        run.give_back("acme")
    run.give_back("dory")
    assert (held(run, "acme"), held(run, "dory")) == ((True, False), (False, False))


def test_a_local_release_of_what_was_given_back_is_refused(consent_world: Any) -> None:
    plain = rounds_of_two(consent_world)
    manifest = plain.manifest()
    plain.open(manifest)
    consent_world.clock.advance(3_600)
    SecureRounds(consent_world, plain.task, plain.brands).give_back("acme")
    with pytest.raises(errors.RoundRefusedError, match=r"acme gave its reservation back \(entry \d+"):
        plain.commit(plain.release(manifest))
    plain.commit(plain.release(manifest, attestations=(plain.attest(manifest, "bolt"),)))


def test_only_the_brand_itself_gives_back(run: SecureRounds) -> None:
    run.open(run.manifest())
    run.world.clock.advance(3_600)
    with pytest.raises(errors.NotFoundError, match="no such brand"):
        run.give_back("acme", signer="bolt")
    with pytest.raises(errors.NotFoundError, match="Nothing is reserved"):
        run.give_back("acme", 7)
    with pytest.raises(errors.NotFoundError, match="Nothing is reserved"):
        run.give_back("acme", purpose="churn")
    with pytest.raises(errors.NotFoundError, match="Nothing is reserved"):
        run.give_back("fern")
    assert held(run, "acme") == (False, True)


def test_the_same_on_postgresql(consent_worlds: Any, postgres_url: Callable[[], str]) -> None:
    """Brands act within their own rows there, so what they may do is told apart by the database."""
    world = consent_worlds(database_url=postgres_url())
    world.declare(PURPOSE)
    run = rounds_of_five(world)
    run.set_up()
    manifest = run.manifest()
    run.open(manifest)
    closing = run.closing(manifest, "dory")
    run.close(closing)
    run.world.clock.advance(3_600)
    for brand in ("acme", "dory"):
        if brand == "acme":
            with pytest.raises(errors.ConflictError):
                run.give_back(brand)
        else:
            run.give_back(brand)
    run.commit(run.release_closed(manifest, closing))
    assert (held(run, "acme"), held(run, "dory")) == ((True, False), (False, False))


def test_a_masked_task_needs_no_more_than_its_numbers(consent_world: Any) -> None:
    """With neither dropouts nor colluders all have to arrive."""
    run = rounds_of_five(consent_world, dropouts=0, colluders=0)
    run.set_up(run.draw_up(dropouts=0, colluders=0))
    manifest = run.manifest()
    run.open(manifest)
    with pytest.raises(errors.RoundRefusedError, match="Too few"):
        run.close(run.closing(manifest, "acme"))
    closing = run.closing(manifest)
    run.close(closing)
    run.commit(run.release_closed(manifest, closing, noise_shares=1.0))
    assert masked_task().digest() != run.task.digest()
    assert run.world.clock.now + timedelta(days=7) == run.setup.not_after if run.setup else False
