"""What strings and signals mean for our purposes, and the attacks on them by row of the list of failures."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from pydantic import ValidationError

from consent.errors import ConsentStringError
from consent.signals import (
    GPC_OPT_OUTS,
    ConsentModeMapping,
    GppString,
    OptOut,
    OptOutMapping,
    PublisherRestriction,
    RestrictionType,
    TcfMapping,
    TcIssuer,
    TcString,
    UsCalifornia,
    UsNational,
    VendorSet,
    conflicting_grants,
    consent_mode,
    decode_tc_string,
    encode_tc_string,
    ended_purposes,
    gpc_applies,
    gpc_support,
    granted_purposes,
    opt_outs,
    tc_string_of,
    us_national_of,
)

DAY = datetime(2026, 3, 1, tzinfo=UTC)
MAPPING = TcfMapping(vendor=42, cmps=(31,), purposes={"ads": (1, 4), "churn": (10,)})
OPT_OUTS = OptOutMapping(
    purposes={"ads": (OptOut.SALE, OptOut.SHARING), "retargeting": (OptOut.TARGETED_ADVERTISING,)}
)
SOUND = TcString(
    created=DAY,
    last_updated=DAY,
    cmp_id=31,
    cmp_version=2,
    consent_screen=1,
    consent_language="EN",
    vendor_list_version=100,
    policy_version=5,
    purposes_consent=frozenset({1, 4, 10}),
    publisher_country="DE",
    vendors_consent=VendorSet.of([42]),
    disclosed_vendors=VendorSet.of([42]),
)
NOTHING = {"ads": False, "churn": False}


def restriction(purpose: int, kind: RestrictionType, vendor: int = 42) -> tuple[PublisherRestriction, ...]:
    return (PublisherRestriction(purpose=purpose, kind=kind, vendors=VendorSet.of([vendor])),)


def test_a_sound_string_grants_what_it_says() -> None:
    assert granted_purposes(SOUND, MAPPING) == {"ads": True, "churn": True}
    assert granted_purposes(replace(SOUND, purposes_consent=frozenset({4, 10})), MAPPING) == {
        "ads": False,
        "churn": True,
    }


@pytest.mark.parametrize(
    "fields",
    [
        {"cmp_id": 32},
        {"policy_version": 4},
        {"policy_version": 6},
        {"vendors_consent": VendorSet.of([41, 43])},
        {"disclosed_vendors": VendorSet.of([41, 43])},
        {"purposes_consent": frozenset(), "purposes_legitimate_interest": frozenset({1, 4, 10})},
        {"vendors_consent": VendorSet(), "vendors_legitimate_interest": VendorSet.of([42])},
    ],
    ids=["foreign manager", "old policy", "new policy", "vendor", "disclosure", "interest", "vendor's interest"],
)
def test_row_29_a_string_that_lacks_one_condition_grants_nothing(fields: dict[str, object]) -> None:
    assert granted_purposes(replace(SOUND, **fields), MAPPING) == NOTHING  # type: ignore[arg-type]


def test_row_29_a_ghost_vendor_is_refused_and_no_string_grants_nothing() -> None:
    core, _ = encode_tc_string(SOUND).split(".")
    with pytest.raises(ConsentStringError, match="which vendors were disclosed"):
        decode_tc_string(core)
    assert granted_purposes(None, MAPPING) == NOTHING


@pytest.mark.parametrize(
    ("purpose", "kind", "vendor", "expected"),
    [
        (4, RestrictionType.NOT_ALLOWED, 42, {"ads": False, "churn": True}),
        (4, RestrictionType.REQUIRE_LEGITIMATE_INTEREST, 42, {"ads": False, "churn": True}),
        (4, RestrictionType.REQUIRE_CONSENT, 42, {"ads": True, "churn": True}),
        (4, RestrictionType.NOT_ALLOWED, 41, {"ads": True, "churn": True}),
        (10, RestrictionType.NOT_ALLOWED, 42, {"ads": True, "churn": False}),
    ],
)
def test_a_publisher_takes_back_what_it_restricts(
    purpose: int, kind: RestrictionType, vendor: int, expected: dict[str, bool]
) -> None:
    value = replace(SOUND, publisher_restrictions=restriction(purpose, kind, vendor))
    assert granted_purposes(value, MAPPING) == expected


def test_purpose_one_that_was_not_disclosed_is_not_consented_to() -> None:
    value = replace(SOUND, purpose_one_treatment=True)
    assert granted_purposes(value, MAPPING) == {"ads": False, "churn": True}


@pytest.mark.parametrize(
    "purposes", [{"ads": ()}, {"ads": (12,)}, {"ads": (0,)}, {"Not A Name": (1,)}], ids=["none", "12", "0", "name"]
)
def test_a_mapping_that_would_grant_for_nothing_is_refused(purposes: dict[str, tuple[int, ...]]) -> None:
    with pytest.raises(ValidationError):
        TcfMapping(vendor=42, cmps=(31,), purposes=purposes)
    with pytest.raises(ValidationError):
        OptOutMapping(purposes={"ads": ()})


def test_an_answer_of_the_us_sections_ends_its_purposes() -> None:
    national = GppString(us_national=UsNational(sale_opt_out=1, targeted_advertising_opt_out=2))
    assert opt_outs(national) == {OptOut.SALE}
    assert ended_purposes(opt_outs(national), OPT_OUTS) == {"ads"}
    california = GppString(us_california=UsCalifornia(sharing_opt_out=1))
    assert opt_outs(california) == {OptOut.SHARING, OptOut.TARGETED_ADVERTISING}
    both = GppString(us_national=national.us_national, us_california=california.us_california)
    assert opt_outs(both) == GPC_OPT_OUTS
    assert opt_outs(GppString(us_national=UsNational(sale_opt_out=2), opaque=((6, "1YYN"),))) == frozenset()


@pytest.mark.parametrize("section", [UsNational(gpc=True, sale_opt_out=2), UsCalifornia(gpc=True)])
def test_the_gpc_sub_section_opts_out_of_all(section: UsNational | UsCalifornia) -> None:
    if isinstance(section, UsNational):
        assert opt_outs(GppString(us_national=section)) == GPC_OPT_OUTS
        assert opt_outs(GppString(us_national=replace(section, gpc=False))) == frozenset()
    else:
        assert opt_outs(GppString(us_california=section)) == GPC_OPT_OUTS


@pytest.mark.parametrize(
    ("values", "applies"),
    [
        (["1"], True),
        ([" \t1\t "], True),
        (["0", "1"], True),
        (["true", "1", "1"], True),
        ([], False),
        ([""], False),
        (["0"], False),
        (["true"], False),
        (["1;x"], False),
        (["1, 1"], False),
        (["1,1"], False),
        (['"1"'], False),
        (["?1"], False),
        (["01"], False),
        (["11"], False),
        (["1\n"], False),
        (["\u00a01"], False),
        (["\uff11"], False),
        (["\u0661"], False),
        (["0", "true"], False),
    ],
)
def test_row_30_only_exactly_one_is_the_signal(values: list[str], applies: bool) -> None:
    assert gpc_applies(values) is applies


def test_row_30_the_signal_against_stored_grants_is_a_conflict_to_record() -> None:
    assert conflicting_grants(GPC_OPT_OUTS, {"ads", "churn"}, OPT_OUTS) == {"ads"}
    assert conflicting_grants(GPC_OPT_OUTS, set(), OPT_OUTS) == frozenset()
    assert conflicting_grants(frozenset(), {"ads"}, OPT_OUTS) == frozenset()


@pytest.mark.parametrize("day", [date(2026, 3, 1), datetime(2026, 3, 1, 23, 59, tzinfo=UTC)])
def test_the_support_page_states_a_full_date(day: date) -> None:
    assert json.loads(json.dumps(gpc_support(day))) == {"gpc": True, "lastUpdate": "2026-03-01"}


def test_consent_mode_grants_what_all_its_purposes_grant() -> None:
    mapping = ConsentModeMapping(ad_storage=("ads",), ad_personalization=("ads", "churn"))
    denied = {"ad_user_data": "denied", "analytics_storage": "denied"}
    assert consent_mode({"ads"}, mapping) == denied | {"ad_storage": "granted", "ad_personalization": "denied"}
    assert consent_mode({"ads", "churn"}, mapping) == denied | {
        "ad_storage": "granted",
        "ad_personalization": "granted",
    }
    assert consent_mode(set(), mapping) == denied | {"ad_storage": "denied", "ad_personalization": "denied"}


ISSUER = TcIssuer(
    cmp_id=31,
    cmp_version=1,
    consent_screen=1,
    consent_language="EN",
    vendor_list_version=100,
    publisher_country="DE",
)


def test_an_export_states_the_day_and_nothing_of_the_hour() -> None:
    value = tc_string_of({"ads"}, MAPPING, ISSUER, day=DAY.date(), disclosed=VendorSet.of([41, 42]))
    assert value.created == value.last_updated == DAY
    assert value.purposes_consent == {1, 4}
    assert list(value.vendors_consent) == [42]
    undisclosed = tc_string_of({"ads"}, MAPPING, ISSUER, day=DAY.date(), disclosed=VendorSet.of([41]))
    assert not undisclosed.vendors_consent.ranges


def test_an_export_grants_neither_of_what_the_framework_can_not_tell_apart() -> None:
    mapping = TcfMapping(vendor=42, cmps=(31,), purposes={"ads": (1, 4), "storage": (1,)})
    value = tc_string_of({"ads"}, mapping, ISSUER, day=DAY.date(), disclosed=VendorSet.of([42]))
    assert granted_purposes(value, mapping) == {"ads": False, "storage": False}


def test_an_exported_usnat_section_says_what_does_not_apply() -> None:
    section = us_national_of({"ads"}, OptOutMapping(purposes={"ads": (OptOut.SALE,)}), gpc=False)
    assert (section.sale_opt_out_notice, section.sale_opt_out) == (1, 1)
    assert (section.sharing_opt_out_notice, section.sharing_opt_out) == (0, 0)
    assert us_national_of(set(), OPT_OUTS, gpc=False).sale_opt_out == 2


def test_an_exported_signal_is_an_answer_too() -> None:
    """Readers that know nothing of the GPC sub-section find the opt-outs that apply."""
    section = us_national_of(set(), OptOutMapping(purposes={"ads": (OptOut.SALE,)}), gpc=True)
    assert (section.gpc, section.sale_opt_out, section.sharing_opt_out) == (True, 1, 0)
