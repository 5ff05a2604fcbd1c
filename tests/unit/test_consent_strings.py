"""Consent strings in the service: what they grant and end, and what is exported."""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from signal_world import (
    ANN,
    BRAND,
    OTHER,
    PURPOSE,
    STRING,
    TCF,
    allowed,
    declare,
    entry,
    gpc,
    log_size,
    midnight,
    tc_text,
)
from sqlalchemy import select

from consent import errors
from consent.contract import Act, DecisionQuery, Notice, Purpose
from consent.signals import (
    GppString,
    UsNational,
    decode_gpp_string,
    decode_tc_string,
    encode_gpp_string,
    granted_purposes,
)
from consent.store.customers import SignalRow


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
