"""What signals and strings mean for a brand: what an officer can declare, and what holds without."""

from typing import Any

import pytest
from signal_world import (
    ANN,
    BRAND,
    OTHER,
    PURPOSE,
    TCF,
    allowed,
    declare,
    gpc,
    log_size,
)

from consent import errors
from consent.contract import Act, Channel, Notice, Purpose
from consent.preference_signals import SignalMapping, TcfRules
from consent.signals import (
    OptOut,
)


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
