"""Opt-out signals in the service: what they end, what is told of it, and what is shown."""

import logging
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest
from log_looks import look
from signal_world import (
    ANN,
    BEN,
    BRAND,
    OTHER,
    PURPOSE,
    STRING,
    act,
    allowed,
    declare,
    entry,
    gpc,
    log_size,
    tc_text,
)
from sqlalchemy import func, select

from consent import errors
from consent.contract import Act, Channel, DecisionQuery, Purpose
from consent.preference_signals import HONORED, NOT_ASKED, NOT_HONORED
from consent.searching import LogQuery
from consent.signals import (
    GppString,
    UsNational,
    decode_tc_string,
    encode_gpp_string,
)
from consent.store.customers import SignalRow
from consent.store.schema import ChoiceRow, SubjectKeyRow


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
