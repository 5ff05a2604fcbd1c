"""Preference signals and consent strings in the service: what they change, what they leave, what is shown."""

import hashlib
import json
import logging
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from log_looks import look
from signal_world import (
    BRAND,
    OTHER,
    PURPOSE,
    STRING,
    TCF,
    act,
    allowed,
    declare,
    midnight,
    pseudonym,
    tc_text,
)
from sqlalchemy import func, select

from consent import errors
from consent.contract import Act, Channel, DecisionQuery, Notice, Purpose
from consent.preference_signals import HONORED, NOT_ASKED, NOT_HONORED, SignalMapping, TcfRules
from consent.searching import LogQuery
from consent.signals import (
    GppString,
    OptOut,
    UsNational,
    decode_gpp_string,
    decode_tc_string,
    encode_gpp_string,
    granted_purposes,
)
from consent.store.customers import SignalRow
from consent.store.schema import ChoiceRow, LogHead, SubjectKeyRow

ANN = pseudonym("ann")
BEN = pseudonym("ben")


def log_size(world: Any) -> int:
    with world.app.state.workplace.reading() as unit:
        size: int = unit.session.scalar(select(LogHead.size))
    return size


def entry(world: Any, index: int) -> dict[str, Any]:
    page = world.brand(BRAND).search_log(LogQuery(brand=BRAND, subject=ANN, limit=500))
    (payload,) = [hit.payload for hit in page.entries if hit.log_index == index]
    found: dict[str, Any] = payload
    return found


def gpc(world: Any, *values: str, subject: str = ANN) -> Any:
    world.clock.advance()
    return world.brand(BRAND).honour_gpc(BRAND, subject, values)


def test_a_signal_withdraws_what_the_mapping_says_and_is_confirmed(consent_world: Any) -> None:
    declare(consent_world)
    consent_world.record(BRAND, Act.GRANT, ANN)
    consent_world.record(BRAND, Act.GRANT, ANN, purpose=OTHER)
    act(consent_world, ANN, Act.GRANT, "ads", channel=Channel.ADS)
    answer = gpc(consent_world, "1")
    assert (answer.honored, answer.message) == (True, HONORED)
    assert (answer.purposes, answer.channels, answer.kept) == ((PURPOSE,), (Channel.ADS,), ())
    assert not allowed(consent_world, ANN)
    assert allowed(consent_world, ANN, OTHER)
    assert not allowed(consent_world, ANN, OTHER, Channel.ADS)
    said = entry(consent_world, answer.log_index)
    assert (said["kind"], said["signal"], said["purposes"]) == ("signal_honoured", "gpc", [PURPOSE])
    choices = [entry(consent_world, index) for index in said["choices"]]
    assert {(one["act"], one["method"], one["collection_point"]) for one in choices} == {
        ("withdraw", "signal", "gpc")
    }


def test_a_customer_who_never_chose_is_opted_out_as_well(consent_world: Any) -> None:
    declare(consent_world)
    answer = gpc(consent_world, "1")
    assert (answer.honored, answer.conflicts) == (True, ())
    decision = consent_world.brand(BRAND).decide([DecisionQuery(brand=BRAND, subject=ANN, purpose=PURPOSE)])[0]
    assert decision.reason == "withdrawn"


@pytest.mark.parametrize("opted_out_before", [True, False])
def test_a_repeated_signal_writes_nothing_and_is_confirmed(consent_world: Any, opted_out_before: bool) -> None:
    declare(consent_world)
    if opted_out_before:
        consent_world.record(BRAND, Act.WITHDRAW, ANN)
        act(consent_world, ANN, Act.WITHDRAW, "ads", channel=Channel.ADS)
    first = gpc(consent_world, "1")
    size = log_size(consent_world)
    again = gpc(consent_world, "1")
    assert log_size(consent_world) == size
    assert (again.honored, again.message, again.log_index) == (True, HONORED, first.log_index)


def test_without_a_declared_mapping_a_signal_ends_everything(consent_world: Any) -> None:
    consent_world.record(BRAND, Act.GRANT, ANN)
    consent_world.record(BRAND, Act.GRANT, ANN, purpose=OTHER)
    answer = gpc(consent_world, "1")
    assert (answer.purposes, answer.channels) == ((OTHER, PURPOSE), (Channel.ADS,))
    assert not allowed(consent_world, ANN)
    assert not allowed(consent_world, ANN, OTHER)


def test_a_purpose_that_the_mapping_does_not_speak_of_is_ended(consent_world: Any) -> None:
    declare(consent_world)
    consent_world.declare("later")
    assert gpc(consent_world, "1").purposes == (PURPOSE, "later")


def test_a_conflict_is_recorded_and_told_with_the_notice_to_show(consent_world: Any) -> None:
    mapping = declare(consent_world)
    (granted,) = consent_world.record(BRAND, Act.GRANT, ANN)
    answer = gpc(consent_world, "1")
    (conflict,) = answer.conflicts
    assert (conflict.purpose, conflict.log_index) == (PURPOSE, granted)
    assert conflict.notice == consent_world.notices[PURPOSE]
    assert answer.conflict_notices == mapping.conflict_notices
    assert entry(consent_world, answer.log_index)["conflicts"] == [granted]
    with consent_world.app.state.workplace.reading() as unit:
        assert unit.session.scalars(select(SignalRow.conflict)).all() == [True]
    assert gpc(consent_world, "1").conflicts == ()


def test_an_officer_finds_a_brands_signals_with_their_conflicts(consent_world: Any) -> None:
    declare(consent_world)
    consent_world.record(BRAND, Act.GRANT, ANN)
    for subject in (ANN, BEN):
        gpc(consent_world, "1", subject=subject)
    consent_world.brand(BRAND).import_tcf(BRAND, BEN, tc_text(purposes_consent=frozenset()))
    officer = consent_world.officer
    signals, strings = (
        officer.search_log(LogQuery(brand=BRAND, kind=kind)).entries
        for kind in ("signal_honoured", "consent_string_imported")
    )
    assert ([hit.closed for hit in signals], [hit.closed for hit in strings]) == ([True, True], [True])
    opened = [
        officer.search_log(LogQuery(**look(consent_world, subject, BRAND), kind="signal_honoured")).entries
        for subject in (ANN, BEN)
    ]
    assert [(hit.log_index, len(hit.payload["conflicts"])) for (hit,) in opened] == [
        (signals[0].log_index, 1),
        (signals[1].log_index, 0),
    ]


def test_a_grant_that_had_ended_is_no_conflict(consent_world: Any) -> None:
    declare(consent_world)
    soon = consent_world.clock.now + timedelta(minutes=1)
    act(consent_world, ANN, Act.GRANT, "short", expires_at=soon)
    consent_world.clock.advance(120)
    answer = gpc(consent_world, "1")
    assert (answer.honored, answer.conflicts) == (True, ())


def test_the_confirmation_follows_what_holds(consent_world: Any) -> None:
    declare(consent_world)
    brand = consent_world.brand(BRAND)
    assert brand.opt_out_confirmation(BRAND, ANN).message == NOT_ASKED
    index = gpc(consent_world, "1").log_index
    shown = brand.opt_out_confirmation(BRAND, ANN)
    assert (shown.honored, shown.message, shown.log_index) == (True, HONORED, index)
    consent_world.record(BRAND, Act.GRANT, ANN)
    shown = brand.opt_out_confirmation(BRAND, ANN)
    assert (shown.honored, shown.message, shown.purposes) == (False, NOT_HONORED, ())


def test_the_page_escapes_what_it_shows_and_loads_nothing(consent_world: Any) -> None:
    consent_world.operator.declare_purpose(
        Purpose(
            purpose="evil",
            title="<script>alert(1)</script>&\"'",
            legal_basis="consent",
            data_categories=("behaviour",),
            retention_days=1,
        )
    )
    gpc(consent_world, "1")
    page = consent_world.brand(BRAND).opt_out_page(BRAND, ANN)
    assert HONORED in page
    assert "&lt;script&gt;" in page
    assert "<script" not in page
    assert ANN not in page
    assert "http:" not in page
    assert "https:" not in page
    assert "default-src 'none'" in page


def test_the_page_is_sent_with_its_policy(consent_world: Any) -> None:
    consent_world.brand(BRAND)
    response = consent_world.http.post(
        "/v1/signals/confirmation",
        json={"brand": BRAND, "subject": ANN, "format": "html"},
        headers={"Authorization": f"Bearer {consent_world.tokens[BRAND]}"},
    )
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["content-security-policy"].startswith("default-src 'none'")
    assert response.headers["cache-control"] == "no-store"


def test_the_support_resource_says_what_the_settings_say(consent_worlds: Any) -> None:
    response = consent_worlds(gpc_last_update=date(2026, 11, 1)).http.get("/.well-known/gpc.json")
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
    assert response.json() == {"gpc": True, "lastUpdate": "2026-11-01"}
    assert consent_worlds().http.get("/.well-known/gpc.json").status_code == 404


def test_a_string_grants_what_it_says_under_the_declared_notice(consent_world: Any) -> None:
    declare(consent_world)
    text = tc_text(purposes_consent=frozenset({1, 4}))
    answer = consent_world.brand(BRAND).import_tcf(BRAND, ANN, text)
    assert (answer.granted, answer.withdrawn, answer.refused) == ((PURPOSE,), (OTHER,), ())
    query = DecisionQuery(brand=BRAND, subject=ANN, purpose=PURPOSE)
    decision = consent_world.brand(BRAND).decide([query])[0]
    assert (decision.allowed, decision.notice) == (True, consent_world.notices[PURPOSE])
    said = entry(consent_world, answer.log_index)
    assert said["string"] == hashlib.sha256(text.encode()).hexdigest()
    assert text not in json.dumps(said)
    choice = entry(consent_world, decision.log_index)
    assert (choice["method"], choice["collection_point"]) == ("signal", "tcf")
    assert datetime.fromisoformat(choice["claimed_at"]) == STRING.created


def test_a_repeated_string_writes_nothing(consent_world: Any) -> None:
    declare(consent_world)
    brand = consent_world.brand(BRAND)
    brand.import_tcf(BRAND, ANN, tc_text())
    size = log_size(consent_world)
    again = brand.import_tcf(BRAND, ANN, tc_text())
    assert (again.log_index, again.granted, again.withdrawn) == (None, (), ())
    assert log_size(consent_world) == size


def test_a_string_that_consents_no_more_withdraws(consent_world: Any) -> None:
    declare(consent_world)
    brand = consent_world.brand(BRAND)
    consent_world.record(BRAND, Act.GRANT, ANN)
    answer = brand.import_tcf(BRAND, ANN, tc_text(purposes_consent=frozenset()))
    assert set(answer.withdrawn) == {PURPOSE, OTHER}
    assert not allowed(consent_world, ANN)
    with consent_world.app.state.workplace.reading() as unit:
        assert unit.session.execute(select(SignalRow.signal, SignalRow.conflict)).all() == [("tcf", True)]


def test_a_string_grants_no_longer_than_thirteen_months_from_its_day(consent_world: Any) -> None:
    declare(consent_world)
    brand = consent_world.brand(BRAND)
    day = midnight(consent_world, days=-394)
    brand.import_tcf(BRAND, ANN, tc_text(day=day))
    assert allowed(consent_world, ANN)
    consent_world.clock.advance(86_400)
    assert not allowed(consent_world, ANN)
    again = brand.import_tcf(BRAND, ANN, tc_text(day=day))
    assert ({one.purpose for one in again.refused}, again.granted) == ({PURPOSE, OTHER}, ())


def test_the_term_of_a_purpose_counts_from_the_day_of_the_string(consent_worlds: Any) -> None:
    world = consent_worlds()
    world.operator.declare_purpose(
        Purpose(
            purpose=PURPOSE,
            title="Conversion",
            legal_basis="consent",
            data_categories=("behaviour",),
            retention_days=30,
            consent_days=30,
        )
    )
    notice = Notice(purpose=PURPOSE, language="en", text="May we?")
    world.notices[PURPOSE] = world.operator.publish_notice(notice)
    world.declare(OTHER)
    declare(world)
    world.brand(BRAND).import_tcf(BRAND, ANN, tc_text(day=midnight(world, days=-29)))
    assert allowed(world, ANN)
    world.clock.advance(86_400)
    assert not allowed(world, ANN)


def test_what_may_not_be_granted_is_refused_while_withdrawals_stand(consent_world: Any) -> None:
    declare(consent_world)
    consent_world.record(BRAND, Act.GRANT, ANN, purpose=OTHER)
    consent_world.officer.publish_notice(
        Notice(purpose=PURPOSE, language="en", text="Another text", replaces=consent_world.notices[PURPOSE])
    )
    text = tc_text(purposes_consent=frozenset({1, 4}))
    answer = consent_world.brand(BRAND).import_tcf(BRAND, ANN, text)
    assert [(one.purpose, one.error) for one in answer.refused] == [(PURPOSE, "unknown_notice")]
    assert answer.withdrawn == (OTHER,)
    assert not allowed(consent_world, ANN)


def test_a_gpp_string_opts_out_and_consents_in_one(consent_world: Any) -> None:
    declare(consent_world)
    text = encode_gpp_string(GppString(tcf_eu=STRING, us_national=UsNational(sale_opt_out=1)))
    answer = consent_world.brand(BRAND).import_gpp(BRAND, ANN, text)
    assert (answer.opt_out.honored, answer.opt_out.purposes) == (True, (PURPOSE,))
    assert answer.consent.granted == (OTHER,)
    assert [one.purpose for one in answer.consent.refused] == [PURPOSE]
    assert not allowed(consent_world, ANN)
    said = entry(consent_world, answer.opt_out.log_index)
    assert (said["signal"], said["string"]) == ("gpp", hashlib.sha256(text.encode()).hexdigest())


def test_an_opt_out_that_is_said_again_in_a_string_writes_nothing(consent_world: Any) -> None:
    declare(consent_world)
    text = encode_gpp_string(GppString(us_national=UsNational(sale_opt_out=1)))
    brand = consent_world.brand(BRAND)
    first = brand.import_gpp(BRAND, ANN, text)
    size = log_size(consent_world)
    assert brand.import_gpp(BRAND, ANN, text) == first
    assert log_size(consent_world) == size


def test_a_gpp_string_with_nothing_that_is_read_changes_nothing(consent_world: Any) -> None:
    declare(consent_world)
    size = log_size(consent_world)
    for value in (GppString(opaque=((6, "1YYN"),)), GppString(us_national=UsNational(sale_opt_out=2))):
        answer = consent_world.brand(BRAND).import_gpp(BRAND, ANN, encode_gpp_string(value))
        assert (answer.opt_out, answer.consent, answer.problem) == (None, None, None)
    assert log_size(consent_world) == size


def test_opt_outs_count_also_where_the_european_section_does_not(consent_world: Any) -> None:
    consent_world.record(BRAND, Act.GRANT, ANN)
    text = encode_gpp_string(GppString(tcf_eu=STRING, us_national=UsNational(sale_opt_out=1)))
    answer = consent_world.brand(BRAND).import_gpp(BRAND, ANN, text)
    assert answer.opt_out.honored
    assert (answer.consent, "declared" in answer.problem) == (None, True)
    assert not allowed(consent_world, ANN)


def test_an_export_says_what_holds_and_since_when(consent_world: Any) -> None:
    declare(consent_world)
    consent_world.record(BRAND, Act.GRANT, ANN)
    consent_world.clock.advance(3 * 86_400)
    exported = consent_world.brand(BRAND).export_string(BRAND, ANN, "tcf")
    read = decode_tc_string(exported.text)
    assert granted_purposes(read, TCF) == {PURPOSE: True, OTHER: False}
    assert read.created == datetime(2026, 11, 2, tzinfo=UTC)
    said = entry(consent_world, exported.log_index)
    assert (said["kind"], said["string"]) == (
        "consent_string_exported",
        hashlib.sha256(exported.text.encode()).hexdigest(),
    )


def test_an_exported_section_opts_out_of_whatever_is_not_granted(consent_world: Any) -> None:
    declare(consent_world)
    brand = consent_world.brand(BRAND)

    def section() -> UsNational:
        found = decode_gpp_string(brand.export_string(BRAND, ANN, "usnat").text).us_national
        assert found is not None
        return found

    assert (section().sale_opt_out, section().targeted_advertising_opt_out, section().gpc) == (1, 0, False)
    consent_world.record(BRAND, Act.GRANT, ANN)
    assert (section().sale_opt_out, section().gpc) == (2, False)
    gpc(consent_world, "1")
    assert (section().sale_opt_out, section().gpc) == (1, True)


def test_nothing_is_exported_without_an_issuer(consent_world: Any) -> None:
    declare(consent_world, export=None)
    with pytest.raises(errors.NotFoundError):
        consent_world.brand(BRAND).export_string(BRAND, ANN, "tcf")


def test_a_mapping_is_logged_once_and_read_by_its_brand(consent_world: Any) -> None:
    mapping = declare(consent_world)
    size = log_size(consent_world)
    consent_world.officer.declare_signal_mapping(BRAND, mapping)
    assert log_size(consent_world) == size
    assert consent_world.brand(BRAND).signal_mapping(BRAND) == mapping
    with pytest.raises(errors.NotFoundError):
        consent_world.brand("spy").signal_mapping(BRAND)
    assert consent_world.brand("spy").signal_mapping("spy") == SignalMapping()


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"opt_outs": {"undeclared": (OptOut.SALE,)}}, errors.UnknownPurposeError),
        ({"unaffected": ("undeclared",)}, errors.UnknownPurposeError),
        ({"unaffected": (PURPOSE, OTHER)}, errors.InvalidRequestError),
        ({"conflict_notices": ("0" * 64,)}, errors.UnknownNoticeError),
        ({"tcf": TcfRules(mapping=TCF, notices={})}, errors.UnknownNoticeError),
        ({"tcf": TcfRules(mapping=TCF, notices={PURPOSE: "0" * 64, OTHER: "0" * 64})}, errors.UnknownNoticeError),
    ],
    ids=["opt-outs", "unaffected", "both", "conflict notice", "no notices", "unknown notices"],
)
def test_a_mapping_that_can_not_be_followed_is_refused(
    consent_world: Any, fields: dict[str, Any], error: type[errors.ConsentError]
) -> None:
    with pytest.raises(error):
        declare(consent_world, **fields)
    assert consent_world.officer.signal_mapping(BRAND) == SignalMapping()


@pytest.mark.parametrize("demand", ["special_category", "double_opt_in"])
def test_no_string_can_grant_what_needs_more_than_a_string(consent_worlds: Any, demand: str) -> None:
    world = consent_worlds()
    facts = {"title": "Health", "legal_basis": "consent", "data_categories": ("health",), "retention_days": 30}
    world.operator.declare_purpose(Purpose.model_validate({"purpose": PURPOSE, demand: True, **facts}))
    notice = Notice(purpose=PURPOSE, language="en", text="May we?")
    world.notices[PURPOSE] = world.operator.publish_notice(notice)
    world.declare(OTHER)
    with pytest.raises(errors.InvalidRequestError):
        declare(world)


def test_a_mapping_is_declared_for_brands_that_exist(consent_world: Any) -> None:
    with pytest.raises(errors.NotFoundError):
        consent_world.officer.declare_signal_mapping("nobody", SignalMapping())


def test_no_brand_touches_anothers_customer(consent_world: Any) -> None:
    declare(consent_world)
    consent_world.record(BRAND, Act.GRANT, ANN)
    spy = consent_world.brand("spy")
    gpp = encode_gpp_string(GppString(us_national=UsNational(sale_opt_out=1)))
    attempts: tuple[Callable[[], object], ...] = (
        lambda: spy.honour_gpc(BRAND, ANN, ["1"]),
        lambda: spy.import_tcf(BRAND, ANN, tc_text(purposes_consent=frozenset())),
        lambda: spy.import_gpp(BRAND, ANN, gpp),
        lambda: spy.export_string(BRAND, ANN, "usnat"),
        lambda: spy.opt_out_confirmation(BRAND, ANN),
        lambda: spy.opt_out_page(BRAND, ANN),
    )
    for attempt in attempts:
        with pytest.raises(errors.NotFoundError):
            attempt()
    assert allowed(consent_world, ANN)


def test_no_string_and_no_customer_is_ever_logged(consent_world: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="confide.consent")
    declare(consent_world)
    brand, text = consent_world.brand(BRAND), tc_text()
    brand.import_tcf(BRAND, ANN, text)
    gpc(consent_world, "1")
    brand.opt_out_page(BRAND, ANN)
    exported = brand.export_string(BRAND, ANN, "tcf").text
    with pytest.raises(errors.ConsentStringError) as caught:
        brand.import_tcf(BRAND, ANN, text + "!")
    assert text not in str(caught.value)
    for canary in (ANN, text, exported):
        assert canary not in caplog.text


def test_erasure_takes_the_signals_of_a_customer(consent_world: Any) -> None:
    declare(consent_world)
    for subject in (ANN, BEN):
        gpc(consent_world, "1", subject=subject)
    consent_world.brand(BRAND).import_tcf(BRAND, ANN, tc_text(purposes_consent=frozenset()))
    consent_world.erase(BRAND, ANN)
    with consent_world.app.state.workplace.reading() as unit:
        assert unit.session.scalars(select(SignalRow.subject)).all() == [BEN]


def test_signals_on_both_databases(consent_worlds: Any, database_url: str) -> None:
    world = consent_worlds(database_url=database_url)
    for purpose in (PURPOSE, OTHER):
        world.declare(purpose)
    declare(world)
    brand = world.brand(BRAND)
    brand.import_tcf(BRAND, ANN, tc_text(vendors_consent=STRING.vendors_consent))
    assert allowed(world, ANN)
    assert gpc(world, "1").honored
    assert gpc(world, "1").conflicts == ()
    assert brand.opt_out_confirmation(BRAND, ANN).honored
    assert decode_tc_string(brand.export_string(BRAND, ANN, "tcf").text).purposes_consent == {10}
    assert not allowed(world, ANN)


def test_a_device_and_the_profiles_merged_with_it_are_out_as_one(consent_world: Any) -> None:
    declare(consent_world)
    consent_world.record(BRAND, Act.GRANT, ANN, BEN)
    brand = consent_world.brand(BRAND)
    brand.merge(BRAND, ANN, BEN)
    assert len(gpc(consent_world, "1", subject=BEN).conflicts) == 2
    size = log_size(consent_world)
    assert gpc(consent_world, "1").honored
    assert log_size(consent_world) == size
    brand.unmerge(BRAND, ANN, BEN)
    assert not allowed(consent_world, ANN)
    assert not allowed(consent_world, BEN)


def test_a_profile_that_is_merged_later_is_ended_by_the_next_signal(consent_world: Any) -> None:
    declare(consent_world)
    brand = consent_world.brand(BRAND)
    gpc(consent_world, "1", subject=BEN)
    consent_world.record(BRAND, Act.GRANT, ANN)
    brand.merge(BRAND, ANN, BEN)
    assert not brand.opt_out_confirmation(BRAND, BEN).honored
    assert gpc(consent_world, "1", subject=BEN).honored
    assert brand.opt_out_confirmation(BRAND, ANN).honored


def test_a_conflict_is_told_once(consent_world: Any) -> None:
    declare(consent_world)
    consent_world.record(BRAND, Act.GRANT, ANN)
    answers = [gpc(consent_world, "1") for _ in range(3)]
    assert [bool(answer.conflicts) for answer in answers] == [True, False, False]
    with consent_world.app.state.workplace.reading() as unit:
        assert unit.session.scalar(select(func.count()).select_from(SignalRow)) == 1
        assert unit.session.scalar(select(func.count()).select_from(SubjectKeyRow)) == 1
        methods = unit.session.scalars(select(ChoiceRow.method).order_by(ChoiceRow.log_index)).all()
    assert methods == ["form", "signal", "signal"]
