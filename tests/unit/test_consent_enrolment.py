"""The service's word on who is enrolled: what it says, to whom, and for how long."""

from datetime import timedelta
from typing import Any

import pytest

from consent import errors
from consent.contract import SnapshotHead
from consent.contract.signing import Signed
from consent.wire import Role


@pytest.fixture
def world(consent_world: Any) -> Any:
    for brand in ("acme", "bolt"):
        consent_world.brand(brand)
    return consent_world


def test_keys_are_stated_in_the_order_of_names_and_signed(world: Any) -> None:
    signed = world.coordinator.enrolment(["bolt", "acme", "bolt"])
    body = signed.verify(world.coordinator.service_key())
    assert body.keys() == {brand: world.keys[brand].public_key for brand in ("acme", "bolt")}
    assert (body.stated_at, body.not_after) == (world.clock.now, world.clock.now + timedelta(hours=1))
    assert body.log_size == int(world.coordinator.checkpoint().splitlines()[1])


def test_its_signature_fits_no_other_kind_of_value(world: Any) -> None:
    signed = world.coordinator.enrolment(["acme"])
    head = Signed[SnapshotHead].model_construct(body=signed.body, signer=signed.signer, signature=signed.signature)
    forged = SnapshotHead.model_construct(**signed.body.model_dump())
    with pytest.raises(errors.SignatureError):
        head.model_copy(update={"body": forged}).verify(world.coordinator.service_key())


def test_a_key_that_was_renewed_is_stated_anew(world: Any) -> None:
    world.operator.enrol(Role.BRAND, "acme", world.keys["bolt"].public_key)
    assert world.coordinator.enrolment(["acme"]).body.keys() == {"acme": world.keys["bolt"].public_key}


@pytest.mark.parametrize("name", ["nobody", "coordinator", "officer"])
def test_who_is_no_enrolled_brand_is_not_stated(world: Any, name: str) -> None:
    assert world.officer
    with pytest.raises(errors.NotFoundError):
        world.coordinator.enrolment(["acme", name])


def test_a_brand_whose_token_ended_is_not_stated(world: Any) -> None:
    world.clock.advance(399 * 86_400)
    assert world.enrol(Role.COORDINATOR, "second").enrolment(["acme"]).body.brands
    world.clock.advance(86_400)
    with pytest.raises(errors.NotFoundError, match="has ended"):
        world.enrol(Role.AUDITOR, "new").enrolment(["acme"])


def test_a_brand_is_told_of_itself_alone(world: Any) -> None:
    assert world.brand("acme").enrolment(["acme"]).body.keys().keys() == {"acme"}
    for others in (["bolt"], ["acme", "bolt"], ["nobody"]):
        with pytest.raises(errors.NotFoundError, match="no such brand"):
            world.brand("acme").enrolment(others)
    for role in ("officer", "auditor"):
        assert getattr(world, role).enrolment(["bolt"]).body.keys().keys() == {"bolt"}
    with pytest.raises(errors.ForbiddenError):
        world.brand_admin("acme").enrolment(["acme"])
