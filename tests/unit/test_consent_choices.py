"""Choices, what they mean for decisions and snapshots, and what is refused."""

import hashlib
from datetime import timedelta
from typing import Any

import pytest

from consent import errors
from consent.contract import Act, Channel, Choice, DecisionQuery, DecisionReason, Notice, Purpose
from consent.contract.membership import members_root

PURPOSE = "conversion"
ANN = hashlib.sha256(b"ann").hexdigest()
BEN = hashlib.sha256(b"ben").hexdigest()


def decide(world: Any, subject: str, **fields: Any) -> tuple[bool, DecisionReason]:
    query = DecisionQuery(brand="acme", subject=subject, purpose=fields.pop("purpose", PURPOSE), **fields)
    (decision,) = world.brand("acme").decide([query])
    return decision.allowed, decision.reason


def test_nothing_is_allowed_by_default(consent_world: Any) -> None:
    assert decide(consent_world, ANN) == (False, DecisionReason.NO_GRANT)
    assert decide(consent_world, ANN, purpose="undeclared") == (False, DecisionReason.UNKNOWN_PURPOSE)


def test_a_grant_allows_its_purpose_alone_and_names_its_entry(consent_world: Any) -> None:
    (index,) = consent_world.record("acme", Act.GRANT, ANN)
    query = DecisionQuery(brand="acme", subject=ANN, purpose=PURPOSE)
    (decision,) = consent_world.brand("acme").decide([query])
    assert (decision.allowed, decision.log_index) == (True, index)
    assert decide(consent_world, ANN, purpose="churn") == (False, DecisionReason.NO_GRANT)
    assert decide(consent_world, BEN) == (False, DecisionReason.NO_GRANT)


def test_a_withdrawal_holds_until_a_later_grant(consent_world: Any) -> None:
    consent_world.record("acme", Act.GRANT, ANN)
    consent_world.record("acme", Act.WITHDRAW, ANN)
    assert decide(consent_world, ANN) == (False, DecisionReason.WITHDRAWN)
    consent_world.record("acme", Act.GRANT, ANN)
    assert decide(consent_world, ANN)[0]


@pytest.mark.parametrize("acts", [(Act.GRANT, Act.WITHDRAW), (Act.WITHDRAW, Act.GRANT)])
@pytest.mark.parametrize("together", [True, False])
def test_a_withdrawal_wins_a_tie(consent_world: Any, acts: tuple[Act, Act], together: bool) -> None:
    choices = [consent_world.choice("acme", ANN, act) for act in acts]
    batches = [choices] if together else [[choice] for choice in choices]
    for number, batch in enumerate(batches):
        consent_world.brand("acme").record(batch, idempotency_key=f"tie-{number}")
    assert decide(consent_world, ANN) == (False, DecisionReason.WITHDRAWN)


def test_a_clock_that_steps_back_does_not_undo_a_withdrawal(consent_world: Any) -> None:
    consent_world.record("acme", Act.WITHDRAW, ANN)
    consent_world.clock.advance(-3600)
    consent_world.record("acme", Act.GRANT, ANN)
    assert decide(consent_world, ANN) == (False, DecisionReason.WITHDRAWN)
    consent_world.record("acme", Act.GRANT, BEN)
    consent_world.clock.advance(-3600)
    consent_world.record("acme", Act.WITHDRAW, BEN)
    assert decide(consent_world, BEN) == (False, DecisionReason.WITHDRAWN)


def test_the_time_that_a_client_claims_decides_nothing(consent_world: Any) -> None:
    consent_world.record("acme", Act.WITHDRAW, ANN)
    later = consent_world.clock.now + timedelta(days=1)
    grant = consent_world.choice("acme", ANN, Act.GRANT, claimed_at=later)
    consent_world.brand("acme").record([grant], idempotency_key="claim")
    assert decide(consent_world, ANN) == (False, DecisionReason.WITHDRAWN)


def test_channels_are_kept_apart_from_purposes(consent_world: Any) -> None:
    consent_world.record("acme", Act.GRANT, ANN)
    assert decide(consent_world, ANN, channel=Channel.SMS) == (False, DecisionReason.CHANNEL_NOT_ALLOWED)
    sms = Choice(brand="acme", subject=ANN, act=Act.GRANT, channel=Channel.SMS)
    consent_world.brand("acme").record([sms], idempotency_key="sms")
    assert decide(consent_world, ANN, channel=Channel.SMS) == (True, DecisionReason.GRANTED)
    assert decide(consent_world, ANN, channel=Channel.EMAIL) == (False, DecisionReason.CHANNEL_NOT_ALLOWED)


def test_a_repeated_batch_has_one_effect(consent_world: Any) -> None:
    brand, choice = consent_world.brand("acme"), consent_world.choice("acme", ANN, Act.GRANT)
    first = brand.record([choice], idempotency_key="once")
    size = brand.checkpoint()
    assert brand.record([choice], idempotency_key="once") == first
    assert brand.checkpoint() == size
    with pytest.raises(errors.ConflictError):
        brand.record([choice, choice], idempotency_key="once")


def test_two_brands_may_use_the_same_key(consent_world: Any) -> None:
    for name in ("acme", "bolt"):
        choice = consent_world.choice(name, ANN, Act.GRANT)
        assert consent_world.brand(name).record([choice], idempotency_key="same")


def test_a_grant_names_a_notice_of_its_purpose(consent_world: Any) -> None:
    brand = consent_world.brand("acme")
    foreign = consent_world.notices["churn"]
    for notice in (None, foreign, "0" * 64):
        grant = Choice(brand="acme", subject=ANN, act=Act.GRANT, purpose=PURPOSE, notice=notice)
        with pytest.raises(errors.UnknownNoticeError):
            brand.record([grant], idempotency_key="notice")
    withdrawal = Choice(brand="acme", subject=ANN, act=Act.WITHDRAW, purpose=PURPOSE)
    assert brand.record([withdrawal], idempotency_key="no notice needed")


def test_a_batch_is_recorded_whole_or_not_at_all(consent_world: Any) -> None:
    good = consent_world.choice("acme", ANN, Act.GRANT)
    bad = Choice(brand="acme", subject=BEN, act=Act.WITHDRAW, purpose="undeclared")
    before = consent_world.brand("acme").checkpoint()
    with pytest.raises(errors.UnknownPurposeError):
        consent_world.brand("acme").record([good, bad], idempotency_key="both")
    assert consent_world.brand("acme").checkpoint() == before
    assert decide(consent_world, ANN) == (False, DecisionReason.NO_GRANT)


def test_a_choice_is_about_one_thing(consent_world: Any) -> None:
    for fields in ({}, {"purpose": PURPOSE, "channel": Channel.SMS}):
        choice = Choice(brand="acme", subject=ANN, act=Act.WITHDRAW, **fields)
        with pytest.raises(errors.InvalidRequestError):
            consent_world.brand("acme").record([choice], idempotency_key="thing")


def test_a_notice_is_known_by_the_hash_of_its_text(consent_world: Any) -> None:
    notice = Notice(purpose=PURPOSE, language="de", text="Dürfen wir?")
    digest = hashlib.sha256("Dürfen wir?".encode()).hexdigest()
    before = consent_world.operator.publish_notice(notice), consent_world.operator.checkpoint()
    assert before[0] == digest
    assert (consent_world.officer.publish_notice(notice), digest) == (digest, digest)


def test_a_purpose_keeps_its_meaning(consent_world: Any) -> None:
    consent_world.declare(PURPOSE)
    with pytest.raises(errors.ConflictError):
        consent_world.operator.declare_purpose(
            Purpose(
                purpose=PURPOSE,
                title="Something else",
                legal_basis="contract",
                data_categories=("all",),
                retention_days=1,
            )
        )


def test_a_snapshot_is_the_root_over_its_members(consent_world: Any) -> None:
    consent_world.record("acme", Act.GRANT, ANN, BEN)
    (head,) = consent_world.coordinator.seal_snapshots(PURPOSE, ["acme"])
    body = head.verify(consent_world.coordinator.service_key())
    assert (body.version, body.root, body.size_class) == (2, members_root([ANN, BEN]), 2)
    view = consent_world.brand("acme").current_snapshot(PURPOSE)
    assert (view.head, view.members) == (head, tuple(sorted([ANN, BEN])))


def test_a_head_is_used_again_while_nothing_changes(consent_world: Any) -> None:
    consent_world.record("acme", Act.GRANT, ANN)
    seal = consent_world.coordinator.seal_snapshots
    (first,) = seal(PURPOSE, ["acme"])
    consent_world.record("acme", Act.GRANT, ANN)
    consent_world.record("acme", Act.WITHDRAW, BEN)
    consent_world.record("acme", Act.GRANT, BEN, purpose="churn")
    assert seal(PURPOSE, ["acme"]) == (first,)
    consent_world.clock.advance(0.8 * 86_400)
    assert seal(PURPOSE, ["acme"]) != (first,)


def test_a_change_of_mind_makes_a_snapshot_stale_at_once(consent_world: Any) -> None:
    brand = consent_world.brand("acme")
    consent_world.record("acme", Act.GRANT, ANN, BEN)
    consent_world.coordinator.seal_snapshots(PURPOSE, ["acme"])
    consent_world.record("acme", Act.WITHDRAW, ANN)
    with pytest.raises(errors.StaleSnapshotError):
        brand.current_snapshot(PURPOSE)
    consent_world.coordinator.seal_snapshots(PURPOSE, ["acme"])
    assert brand.current_snapshot(PURPOSE).members == (BEN,)
    consent_world.clock.advance(86_401)
    with pytest.raises(errors.StaleSnapshotError):
        brand.current_snapshot(PURPOSE)


def test_there_is_no_snapshot_before_it_is_sealed(consent_world: Any) -> None:
    with pytest.raises(errors.NotFoundError):
        consent_world.brand("acme").current_snapshot(PURPOSE)


def test_coverage_counts_yes_no_and_never_asked(consent_world: Any) -> None:
    consent_world.record("acme", Act.GRANT, ANN, BEN)
    consent_world.record("acme", Act.WITHDRAW, BEN)
    consent_world.record("acme", Act.GRANT, BEN, purpose="churn")
    counts = {
        one.purpose: (one.granted, one.withdrawn, one.never_asked)
        for one in consent_world.officer.coverage("acme")
    }
    assert counts == {PURPOSE: (1, 1, 0), "churn": (1, 0, 1)}
