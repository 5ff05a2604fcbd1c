"""Attacks on preference signals and consent strings in the service, by their rows in the list of failures."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from signal_world import (
    BRAND,
    CMP,
    OTHER,
    PURPOSE,
    STRING,
    TOLD,
    act,
    allowed,
    declare,
    midnight,
    pseudonym,
    tc_text,
)

from consent import errors
from consent.contract import Act, Channel, Notice
from consent.preference_signals import HONORED, KEPT
from consent.signals import (
    GppString,
    OptOut,
    PublisherRestriction,
    RestrictionType,
    UsNational,
    VendorSet,
    encode_gpp_string,
)
from consent.wire import GuardianRecord

ANN = pseudonym("ann")
OURS = VendorSet.of([42])
NOT_OURS = VendorSet.of([43])


def gpc(world: Any, *values: str) -> Any:
    world.clock.advance()
    return world.brand(BRAND).honour_gpc(BRAND, ANN, values or ("1",))


def take(world: Any, text: str) -> Any:
    world.clock.advance()
    return world.brand(BRAND).import_tcf(BRAND, ANN, text)


def agree(world: Any, key: str, subject: str = ANN, **fields: Any) -> None:
    """Grant under the notice that tells of the signal."""
    (told,) = world.officer.signal_mapping(BRAND).conflict_notices
    act(world, subject, Act.GRANT, key, notice=told, **fields)


def ghost() -> str:
    return tc_text().split(".")[0]


def cut(text: str) -> str:
    return text[:-4]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (tc_text(cmp_id=CMP + 1), "consent manager"),
        (tc_text(policy_version=4), "policies"),
        (tc_text(policy_version=6), "policies"),
        (tc_text(disclosed_vendors=NOT_OURS), "disclose"),
        (ghost(), "disclosed"),
        ("B" + tc_text()[1:], "version 2"),
        (cut(tc_text()), "segment"),
        ("", "disclosed"),
        ("1YNN", "disclosed"),
        (tc_text() + ".IHBwAYAAgcG", "segment"),
    ],
    ids=["foreign manager", "old", "new", "undisclosed", "ghost", "version 1", "cut", "empty", "usp", "twice"],
)
def test_row_29_a_string_that_breaks_a_rule_grants_nothing_and_names_it(
    consent_world: Any, text: str, rule: str
) -> None:
    declare(consent_world)
    with pytest.raises(errors.ConsentStringError, match=rule) as caught:
        take(consent_world, text)
    assert not text or text not in str(caught.value)
    assert not allowed(consent_world, ANN)
    consent_world.record(BRAND, Act.GRANT, ANN)
    with pytest.raises(errors.ConsentStringError):
        take(consent_world, text)
    assert allowed(consent_world, ANN)


@pytest.mark.parametrize(
    "fields",
    [
        {"vendors_consent": NOT_OURS},
        {"vendors_consent": VendorSet(), "vendors_legitimate_interest": OURS},
        {"purposes_consent": frozenset({1, 10})},
        {"purposes_consent": frozenset(), "purposes_legitimate_interest": frozenset({1, 4, 10})},
        {"purpose_one_treatment": True},
        {
            "publisher_restrictions": (
                PublisherRestriction(purpose=4, kind=RestrictionType.NOT_ALLOWED, vendors=OURS),
            )
        },
    ],
    ids=["vendor", "vendor's interest", "one of two purposes", "interest", "purpose one", "restriction"],
)
def test_row_29_a_sound_string_that_does_not_consent_takes_back(
    consent_world: Any, fields: dict[str, Any]
) -> None:
    declare(consent_world)
    consent_world.record(BRAND, Act.GRANT, ANN)
    assert PURPOSE in take(consent_world, tc_text(**fields)).withdrawn
    assert not allowed(consent_world, ANN)


def test_row_29_a_string_from_the_future_counts_for_nothing(consent_world: Any) -> None:
    declare(consent_world)
    for moment in (midnight(consent_world, days=1), consent_world.clock.now + timedelta(minutes=1)):
        with pytest.raises(errors.ConsentStringError, match="to come"):
            take(consent_world, tc_text(day=moment))
    assert not allowed(consent_world, ANN)


@pytest.mark.parametrize("days", [-400, -1, 0])
def test_row_29_a_replayed_string_does_not_undo_a_withdrawal(consent_world: Any, days: int) -> None:
    declare(consent_world)
    consent_world.record(BRAND, Act.WITHDRAW, ANN)
    answer = take(consent_world, tc_text(day=midnight(consent_world, days=days)))
    assert [one.error for one in answer.refused if one.purpose == PURPOSE] == ["conflict"]
    assert not allowed(consent_world, ANN)


def test_row_29_a_string_of_the_instant_of_a_withdrawal_loses_and_a_later_one_counts(consent_world: Any) -> None:
    declare(consent_world)
    consent_world.clock.now = midnight(consent_world, days=1) - timedelta(seconds=1)
    consent_world.record(BRAND, Act.WITHDRAW, ANN)
    instant: datetime = consent_world.clock.now
    assert instant == midnight(consent_world)
    assert PURPOSE not in take(consent_world, tc_text(day=instant)).granted
    assert not allowed(consent_world, ANN)
    later = instant + timedelta(milliseconds=100)
    assert PURPOSE in take(consent_world, tc_text(day=later)).granted
    assert allowed(consent_world, ANN)


def test_row_29_the_day_of_creation_counts_not_that_of_the_last_update(consent_world: Any) -> None:
    declare(consent_world)
    consent_world.record(BRAND, Act.WITHDRAW, ANN)
    before = midnight(consent_world)
    consent_world.clock.advance(3 * 86_400)
    text = tc_text(created=before, last_updated=midnight(consent_world))
    assert PURPOSE not in take(consent_world, text).granted


def test_row_29_a_lapsed_grant_is_not_renewed_by_its_old_string(consent_world: Any) -> None:
    declare(consent_world)
    soon = consent_world.clock.now + timedelta(minutes=1)
    act(consent_world, ANN, Act.GRANT, "short", expires_at=soon)
    consent_world.clock.advance(120)
    assert PURPOSE not in take(consent_world, tc_text(day=midnight(consent_world))).granted


def test_row_29_no_string_speaks_for_a_customer_with_a_guardian(consent_world: Any) -> None:
    declare(consent_world)
    until = consent_world.clock.now + timedelta(days=365)
    record = GuardianRecord(brand=BRAND, subject=ANN, guardian=pseudonym("guardian"), until=until)
    consent_world.brand(BRAND).appoint_guardian(record)
    answer = take(consent_world, tc_text())
    assert (answer.granted, {one.error for one in answer.refused}) == ((), {"invalid_request"})


def test_row_29_without_a_mapping_no_string_grants(consent_world: Any) -> None:
    with pytest.raises(errors.NotFoundError):
        take(consent_world, tc_text())
    declare(consent_world, tcf=None)
    with pytest.raises(errors.NotFoundError):
        take(consent_world, tc_text())
    assert not allowed(consent_world, ANN)


def test_row_29_a_foreign_section_of_a_gpp_string_grants_nothing(consent_world: Any) -> None:
    declare(consent_world)
    foreign = GppString(tcf_eu=replace(STRING, cmp_id=CMP + 1))
    answer = consent_world.brand(BRAND).import_gpp(BRAND, ANN, encode_gpp_string(foreign))
    assert (answer.consent, "consent manager" in answer.problem) == (None, True)
    assert not allowed(consent_world, ANN)


def test_row_29_a_mapping_that_lists_a_manager_no_more_stops_its_strings(consent_world: Any) -> None:
    mapping = declare(consent_world)
    assert mapping.tcf is not None
    tcf = mapping.tcf.model_copy(update={"mapping": mapping.tcf.mapping.model_copy(update={"cmps": (CMP + 1,)})})
    consent_world.officer.declare_signal_mapping(BRAND, mapping.model_copy(update={"tcf": tcf}))
    with pytest.raises(errors.ConsentStringError, match="consent manager"):
        take(consent_world, tc_text())


@pytest.mark.parametrize(
    "values",
    [(), ("0",), ("true",), ("1, 1",), ("01",), ("1;x",), ('"1"',), ("?1",), ("\uff11",), ("", "0")],
    ids=["absent", "0", "true", "list", "01", "extension", "quoted", "boolean", "full width", "two"],
)
def test_row_30_other_values_are_as_if_absent_and_change_nothing(
    consent_world: Any, values: tuple[str, ...]
) -> None:
    declare(consent_world)
    consent_world.record(BRAND, Act.GRANT, ANN)
    answer = consent_world.brand(BRAND).honour_gpc(BRAND, ANN, values)
    assert (answer.honored, answer.log_index) == (False, None)
    assert allowed(consent_world, ANN)


@pytest.mark.parametrize("values", [("1", "0"), ("true", "1"), (" 1\t",), ("1", "1")])
def test_row_30_one_exact_value_among_several_is_the_signal(consent_world: Any, values: tuple[str, ...]) -> None:
    declare(consent_world)
    consent_world.record(BRAND, Act.GRANT, ANN)
    assert gpc(consent_world, *values).honored
    assert not allowed(consent_world, ANN)


def test_row_30_absence_after_a_signal_opts_nobody_in(consent_world: Any) -> None:
    declare(consent_world)
    gpc(consent_world)
    consent_world.brand(BRAND).honour_gpc(BRAND, ANN, ["0"])
    assert consent_world.brand(BRAND).opt_out_confirmation(BRAND, ANN).message == HONORED
    assert not allowed(consent_world, ANN)


def test_row_30_a_later_opt_in_loses_against_the_next_signal(consent_world: Any) -> None:
    """The customer was never told of the conflict, so their opt-in does not stand against the signal."""
    declare(consent_world)
    gpc(consent_world)
    consent_world.record(BRAND, Act.GRANT, ANN)
    assert allowed(consent_world, ANN)
    answer = gpc(consent_world)
    assert ([one.purpose for one in answer.conflicts], answer.honored) == ([PURPOSE], True)
    consent_world.record(BRAND, Act.GRANT, ANN)
    answer = gpc(consent_world)
    assert (answer.kept, answer.honored) == ((), True)
    assert not allowed(consent_world, ANN)


def test_row_30_an_agreement_from_before_the_conflict_does_not_count(consent_world: Any) -> None:
    mapping = declare(consent_world, opt_outs={OTHER: (OptOut.SALE,)}, unaffected=(PURPOSE,))
    agree(consent_world, "early")
    consent_world.record(BRAND, Act.GRANT, ANN, purpose=OTHER)
    assert [one.purpose for one in gpc(consent_world).conflicts] == [OTHER]
    consent_world.officer.declare_signal_mapping(BRAND, mapping.model_copy(update={"unaffected": ()}))
    assert gpc(consent_world).kept == ()
    assert not allowed(consent_world, ANN)


def test_row_30_who_agreed_after_being_told_is_not_flipped_back(consent_world: Any) -> None:
    declare(consent_world)
    consent_world.record(BRAND, Act.GRANT, ANN)
    gpc(consent_world)
    agree(consent_world, "purpose")
    answer = gpc(consent_world)
    assert (answer.kept, answer.conflicts) == ((PURPOSE,), ())
    assert (answer.honored, answer.channels) == (True, (Channel.ADS,))
    assert allowed(consent_world, ANN)
    assert not allowed(consent_world, ANN, PURPOSE, Channel.ADS)
    agree(consent_world, "ads", channel=Channel.ADS)
    answer = gpc(consent_world)
    assert (answer.honored, answer.message, answer.kept) == (False, KEPT, ("ads", PURPOSE))
    assert allowed(consent_world, ANN, PURPOSE, Channel.ADS)
    assert consent_world.brand(BRAND).opt_out_confirmation(BRAND, ANN).message == KEPT
    consent_world.record(BRAND, Act.WITHDRAW, ANN)
    assert not allowed(consent_world, ANN)


@pytest.mark.parametrize("method", ["import", "support", "signal"])
def test_row_30_only_the_customers_own_act_stands_against_the_signal(consent_world: Any, method: str) -> None:
    declare(consent_world)
    consent_world.record(BRAND, Act.GRANT, ANN)
    gpc(consent_world)
    agree(consent_world, "imported", method=method)
    assert gpc(consent_world).kept == ()
    assert not allowed(consent_world, ANN)


def test_row_30_agreeing_before_any_conflict_does_not_count(consent_world: Any) -> None:
    declare(consent_world)
    agree(consent_world, "early")
    assert gpc(consent_world).kept == ()
    assert not allowed(consent_world, ANN)


def test_row_30_an_agreement_ends_with_its_notice(consent_world: Any) -> None:
    mapping = declare(consent_world)
    consent_world.record(BRAND, Act.GRANT, ANN)
    gpc(consent_world)
    agree(consent_world, "purpose")
    assert gpc(consent_world).kept == (PURPOSE,)
    newer = Notice(
        purpose=PURPOSE, language="en", text=f"{TOLD} Now for more.", replaces=mapping.conflict_notices[0]
    )
    consent_world.officer.publish_notice(newer)
    assert gpc(consent_world).kept == ()


def test_row_30_an_agreement_is_of_the_customer_who_was_told(consent_world: Any) -> None:
    declare(consent_world)
    consent_world.record(BRAND, Act.GRANT, ANN)
    gpc(consent_world)
    ben = pseudonym("ben")
    (told,) = consent_world.officer.signal_mapping(BRAND).conflict_notices
    act(consent_world, ben, Act.GRANT, "ben", notice=told)
    consent_world.clock.advance()
    assert consent_world.brand(BRAND).honour_gpc(BRAND, ben, ["1"]).kept == ()


def test_row_30_an_agreement_counts_once_every_merged_pseudonym_has_it(consent_world: Any) -> None:
    declare(consent_world)
    ben = pseudonym("ben")
    consent_world.record(BRAND, Act.GRANT, ANN, ben)
    consent_world.brand(BRAND).merge(BRAND, ANN, ben)
    gpc(consent_world)
    agree(consent_world, "ann")
    assert gpc(consent_world).kept == ()
    for subject in (ANN, ben):
        agree(consent_world, subject, subject=subject)
    assert gpc(consent_world).kept == (PURPOSE,)
    assert allowed(consent_world, ANN)


def test_row_30_no_string_undoes_the_signal(consent_world: Any) -> None:
    declare(consent_world)
    gpc(consent_world)
    consent_world.clock.advance(5 * 86_400)
    answer = take(consent_world, tc_text(day=midnight(consent_world)))
    assert ([one.purpose for one in answer.refused], answer.granted) == ([PURPOSE], (OTHER,))
    assert not allowed(consent_world, ANN)


@pytest.mark.parametrize(("answer", "kept"), [(2, True), (0, True), (1, False)])
def test_row_30_a_managers_copy_of_the_signal_is_no_answer_of_the_customer(
    consent_world: Any, answer: int, kept: bool
) -> None:
    declare(consent_world)
    consent_world.record(BRAND, Act.GRANT, ANN)
    gpc(consent_world)
    agree(consent_world, "purpose")
    text = encode_gpp_string(GppString(us_national=UsNational(sale_opt_out=answer, gpc=True)))
    consent_world.clock.advance()
    found = consent_world.brand(BRAND).import_gpp(BRAND, ANN, text).opt_out
    assert (found.kept == (PURPOSE,), allowed(consent_world, ANN)) == (kept, kept)
