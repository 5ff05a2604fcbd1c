"""What a grant needs and how long it holds: terms, notices, special categories, guardians, confirmations."""

from datetime import timedelta
from typing import Any

import pytest
from small_federation import small_task

from consent.contract import Act, Choice, Decision, DecisionQuery, DecisionReason, LegalBasis, Notice, Purpose
from consent.errors import (
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    StaleSnapshotError,
    TaskNotApprovedError,
    UnknownNoticeError,
)
from consent.service.confirmations import MOST_PENDING
from consent.wire import GuardianRecord

ANN, BEN, PAT = ("a" * 64, "b" * 64, "c" * 64)


def declare(world: Any, purpose: str, *, text: str = "May we?", **fields: Any) -> str:
    """Declare a purpose with a notice and return the notice's hash."""
    values = {
        "title": purpose,
        "legal_basis": LegalBasis.CONSENT,
        "data_categories": ("behaviour",),
        "retention_days": 30,
    }
    world.operator.declare_purpose(Purpose.model_validate({"purpose": purpose, **values, **fields}))
    notice: str = world.operator.publish_notice(Notice(purpose=purpose, language="en", text=text))
    return notice


def grant(purpose: str, notice: str, subject: str = ANN, **fields: Any) -> Choice:
    return Choice(brand="acme", subject=subject, act=Act.GRANT, purpose=purpose, notice=notice, **fields)


def withdrawal(purpose: str, subject: str = ANN) -> Choice:
    return Choice(brand="acme", subject=subject, act=Act.WITHDRAW, purpose=purpose)


def say(world: Any, *choices: Choice) -> None:
    world.clock.advance()
    world.recorded += 1
    world.brand("acme").record(choices, idempotency_key=f"say-{world.recorded}")


def ask(world: Any, purpose: str, subject: str = ANN) -> Decision:
    (answer,) = world.brand("acme").decide([DecisionQuery(brand="acme", subject=subject, purpose=purpose)])
    decision: Decision = answer
    return decision


def members(world: Any, purpose: str) -> tuple[str, ...]:
    world.coordinator.seal_snapshots(purpose, ["acme"])
    found: tuple[str, ...] = world.brand("acme").current_snapshot(purpose).members
    return found


def test_a_decision_names_the_grant_its_notice_and_the_log(consent_world: Any) -> None:
    notice = declare(consent_world, "upsell")
    say(consent_world, grant("upsell", notice))
    answer = ask(consent_world, "upsell")
    assert (answer.allowed, answer.notice) == (True, notice)
    assert answer.log_index == answer.log_size - 1


def test_a_grant_ends_with_its_purposes_term_and_not_a_moment_later(consent_world: Any) -> None:
    notice = declare(consent_world, "upsell", consent_days=10)
    say(consent_world, grant("upsell", notice))
    consent_world.clock.advance(10 * 86_400 - 1)
    assert ask(consent_world, "upsell").allowed
    consent_world.clock.advance()
    assert ask(consent_world, "upsell").reason is DecisionReason.EXPIRED
    say(consent_world, grant("upsell", notice))
    assert ask(consent_world, "upsell").allowed


def test_a_grant_may_end_earlier_than_its_term_but_not_later(consent_world: Any) -> None:
    notice = declare(consent_world, "upsell", consent_days=10)
    now = consent_world.clock.now
    say(consent_world, grant("upsell", notice, ANN, expires_at=now + timedelta(days=2)))
    say(consent_world, grant("upsell", notice, BEN, expires_at=now + timedelta(days=20)))
    consent_world.clock.advance(3 * 86_400)
    assert [ask(consent_world, "upsell", one).allowed for one in (ANN, BEN)] == [False, True]
    consent_world.clock.advance(8 * 86_400)
    assert not ask(consent_world, "upsell", BEN).allowed
    with pytest.raises(InvalidRequestError, match="already ended"):
        say(consent_world, grant("upsell", notice, expires_at=now))


def test_no_snapshot_outlives_a_grant_in_it(consent_world: Any) -> None:
    notice = declare(consent_world, "upsell")
    now = consent_world.clock.now
    validity = consent_world.settings.snapshot_validity
    say(consent_world, grant("upsell", notice, ANN, expires_at=now + timedelta(seconds=validity / 2)))
    say(consent_world, grant("upsell", notice, BEN, expires_at=now + timedelta(seconds=validity * 2)))
    assert members(consent_world, "upsell") == (BEN,)


def test_a_notice_that_says_something_else_asks_everybody_anew(consent_world: Any) -> None:
    first = declare(consent_world, "upsell", text="May we use your data?")
    say(consent_world, grant("upsell", first))
    assert members(consent_world, "upsell") == (ANN,)
    second = consent_world.operator.publish_notice(
        Notice(purpose="upsell", language="en", text="May we use your data and sell it?", replaces=first)
    )
    with pytest.raises(StaleSnapshotError):
        consent_world.brand("acme").current_snapshot("upsell")
    assert ask(consent_world, "upsell").reason is DecisionReason.NOTICE_CHANGED
    assert members(consent_world, "upsell") == ()
    with pytest.raises(UnknownNoticeError, match="replaced"):
        say(consent_world, grant("upsell", first))
    say(consent_world, withdrawal("upsell"), grant("upsell", second, BEN))
    assert members(consent_world, "upsell") == (BEN,)


def test_an_editorial_change_asks_nobody(consent_world: Any) -> None:
    first = declare(consent_world, "upsell", text="May we uze your data?")
    say(consent_world, grant("upsell", first))
    fixed = Notice(purpose="upsell", language="en", text="May we use it?", replaces=first, material=False)
    assert consent_world.operator.publish_notice(fixed) == consent_world.operator.publish_notice(fixed)
    assert ask(consent_world, "upsell").allowed


def test_a_notice_replaces_one_of_its_own_purpose_and_language_once(consent_world: Any) -> None:
    first = declare(consent_world, "upsell", text="one")
    publish = consent_world.operator.publish_notice
    for wrong in (
        {"purpose": "conversion", "language": "en", "replaces": first},
        {"purpose": "upsell", "language": "de", "replaces": first},
        {"purpose": "upsell", "language": "en", "replaces": "0" * 64},
    ):
        with pytest.raises(UnknownNoticeError):
            publish(Notice.model_validate({"text": "two", **wrong}))
    second = publish(Notice(purpose="upsell", language="en", text="two", replaces=first))
    with pytest.raises(ConflictError):
        publish(Notice(purpose="upsell", language="en", text="three", replaces=first))
    with pytest.raises(ConflictError, match="was replaced"):
        publish(Notice(purpose="upsell", language="en", text="one", replaces=second))


def test_special_categories_need_an_explicit_grant_about_them_alone(consent_world: Any) -> None:
    notice = declare(consent_world, "health", text="May we use your health data?", special_category=True)
    with pytest.raises(InvalidRequestError, match="special category"):
        say(consent_world, grant("health", notice))
    say(consent_world, grant("health", notice, explicit=True))
    assert ask(consent_world, "health").allowed
    bundled = Notice(purpose="conversion", language="en", text="May we use your health data?")
    consent_world.operator.publish_notice(bundled)
    with pytest.raises(InvalidRequestError, match="alone"):
        say(consent_world, grant("health", notice, BEN, explicit=True))


def test_a_guardian_answers_until_the_customer_comes_of_age(consent_world: Any) -> None:
    notice = declare(consent_world, "upsell")
    say(consent_world, grant("upsell", notice))
    until = consent_world.clock.now + timedelta(days=30)
    record = GuardianRecord(brand="acme", subject=ANN, guardian=PAT, until=until)
    consent_world.brand("acme").appoint_guardian(record)
    assert ask(consent_world, "upsell").reason is DecisionReason.WITHDRAWN
    for wrong in (None, BEN):
        with pytest.raises(InvalidRequestError, match="guardian"):
            say(consent_world, grant("upsell", notice, guardian=wrong))
    say(consent_world, grant("upsell", notice, guardian=PAT))
    assert ask(consent_world, "upsell").allowed
    consent_world.clock.now = until
    assert ask(consent_world, "upsell").reason is DecisionReason.EXPIRED
    with pytest.raises(InvalidRequestError, match="no longer answers"):
        say(consent_world, grant("upsell", notice, guardian=PAT))
    say(consent_world, grant("upsell", notice))
    assert ask(consent_world, "upsell").allowed


def test_a_minor_may_withdraw_what_the_guardian_granted(consent_world: Any) -> None:
    notice = declare(consent_world, "upsell")
    until = consent_world.clock.now + timedelta(days=30)
    consent_world.brand("acme").appoint_guardian(
        GuardianRecord(brand="acme", subject=ANN, guardian=PAT, until=until)
    )
    say(consent_world, grant("upsell", notice, guardian=PAT))
    say(consent_world, withdrawal("upsell"))
    assert not ask(consent_world, "upsell").allowed


def test_a_merge_and_its_undoing_make_snapshots_stale(consent_world: Any) -> None:
    notice = declare(consent_world, "upsell")
    brand = consent_world.brand("acme")
    say(consent_world, grant("upsell", notice), withdrawal("upsell", BEN))
    assert members(consent_world, "upsell") == (ANN,)
    for act, expected in ((brand.merge, ()), (brand.unmerge, (ANN,))):
        act("acme", ANN, BEN)
        with pytest.raises(StaleSnapshotError):
            brand.current_snapshot("upsell")
        assert members(consent_world, "upsell") == expected


@pytest.mark.parametrize(("guardian", "days"), [(ANN, 30), (PAT, 0)])
def test_a_guardian_is_somebody_else_for_a_time_to_come(consent_world: Any, guardian: str, days: int) -> None:
    until = consent_world.clock.now + timedelta(days=days)
    with pytest.raises(InvalidRequestError):
        consent_world.brand("acme").appoint_guardian(
            GuardianRecord(brand="acme", subject=ANN, guardian=guardian, until=until)
        )


def test_double_opt_in_counts_once_it_is_confirmed_and_once_only(consent_world: Any) -> None:
    notice = declare(consent_world, "upsell", double_opt_in=True)
    brand = consent_world.brand("acme")
    with pytest.raises(InvalidRequestError, match="confirm"):
        say(consent_world, grant("upsell", notice))
    asked = brand.ask_confirmation(grant("upsell", notice))
    assert ask(consent_world, "upsell").reason is DecisionReason.NO_GRANT
    assert members(consent_world, "upsell") == ()
    consent_world.brand("spy")
    for client, token in ((consent_world.brand("spy"), asked.token), (brand, "x" * 43)):
        with pytest.raises(NotFoundError, match="no such confirmation"):
            client.confirm(token)
    assert brand.confirm(asked.token)
    assert ask(consent_world, "upsell").allowed
    with pytest.raises(NotFoundError):
        brand.confirm(asked.token)


def test_a_withdrawal_ends_a_confirmation_that_waits(consent_world: Any) -> None:
    notice = declare(consent_world, "upsell", double_opt_in=True)
    brand = consent_world.brand("acme")
    asked = brand.ask_confirmation(grant("upsell", notice))
    say(consent_world, withdrawal("upsell"))
    consent_world.clock.advance()
    with pytest.raises(NotFoundError):
        brand.confirm(asked.token)
    assert not ask(consent_world, "upsell").allowed


def test_a_confirmation_expires_and_only_so_many_wait(consent_world: Any) -> None:
    notice = declare(consent_world, "upsell", double_opt_in=True)
    brand = consent_world.brand("acme")
    asked = [brand.ask_confirmation(grant("upsell", notice)) for _ in range(MOST_PENDING)]
    with pytest.raises(ConflictError, match="Too many"):
        brand.ask_confirmation(grant("upsell", notice))
    brand.ask_confirmation(grant("upsell", notice, BEN))
    consent_world.clock.now = asked[0].expires_at
    with pytest.raises(NotFoundError):
        brand.confirm(asked[0].token)
    brand.ask_confirmation(grant("upsell", notice))


def test_no_token_is_kept_in_clear(consent_world: Any) -> None:
    notice = declare(consent_world, "upsell", double_opt_in=True)
    asked = consent_world.brand("acme").ask_confirmation(grant("upsell", notice))
    consent_world.app.state.workplace.publish_now()
    written = [path for path in consent_world.settings.data_dir.rglob("*") if path.is_file()]
    assert all(asked.token.encode() not in path.read_bytes() for path in written)


def test_a_purpose_allows_the_task_families_that_it_names(consent_world: Any) -> None:
    declare(consent_world, "segments", task_families=("segments",))
    consent_world.brand("acme")
    with pytest.raises(TaskNotApprovedError, match="family"):
        consent_world.officer.approve_task(small_task(purpose="segments"), 1.0, ["acme"])
