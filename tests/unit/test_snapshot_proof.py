"""Asking for the proof that a customer is, or is not, under their brand's snapshot."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from consent import errors
from consent.contract import Act, Signed, SigningKey, SnapshotHead, SnapshotProof
from consent.searching import LogQuery
from consent.wire import Role

PURPOSE, OTHER = "conversion", "churn"
ANN, BEN, EVE = (hashlib.sha256(name).hexdigest() for name in (b"ann", b"ben", b"eve"))


@pytest.fixture
def world(consent_worlds: Callable[..., Any], database_url: str) -> Any:
    world = consent_worlds(database_url=database_url)
    for purpose in (PURPOSE, OTHER):
        world.declare(purpose)
    world.record("acme", Act.GRANT, ANN, BEN)
    return world


def check(world: Any, proof: SnapshotProof, subject: str, **changes: str) -> bool:
    asked = {"brand": "acme", "purpose": PURPOSE, "service_key": world.operator.service_key(), **changes}
    return proof.verify(subject=subject, **asked)


def test_who_is_in_and_who_is_not_can_be_shown_to_anybody(world: Any) -> None:
    acme = world.brand("acme")
    (head,) = world.coordinator.seal_snapshots(PURPOSE, ["acme"])
    for client in (acme, world.officer):
        for subject, member in ((ANN, True), (EVE, False)):
            proof = client.snapshot_proof("acme", PURPOSE, subject)
            assert (proof.head, check(world, proof, subject)) == (head, member)
            assert not any(other in proof.model_dump_json() for other in {ANN, BEN, EVE} - {subject})


def test_a_proof_is_as_new_as_the_last_change(world: Any) -> None:
    acme = world.brand("acme")
    before = acme.snapshot_proof("acme", PURPOSE, ANN)
    world.record("acme", Act.WITHDRAW, ANN)
    after = acme.snapshot_proof("acme", PURPOSE, ANN)
    assert (check(world, before, ANN), check(world, after, ANN)) == (True, False)
    assert after.head.body.log_size > before.head.body.log_size
    assert acme.current_head(PURPOSE) == after.head
    with pytest.raises(errors.ProofError):
        check(world, before.model_copy(update={"head": after.head}), ANN)


def test_a_proof_is_of_one_customer_brand_purpose_and_service(world: Any) -> None:
    proof = world.brand("acme").snapshot_proof("acme", PURPOSE, ANN)
    for changes in ({"brand": "other"}, {"purpose": OTHER}):
        with pytest.raises(errors.ProofError):
            check(world, proof, ANN, **changes)
    with pytest.raises(errors.ProofError):
        check(world, proof, BEN)
    with pytest.raises(errors.SignatureError):
        check(world, proof, ANN, service_key=SigningKey.generate().public_key)
    forged = Signed[SnapshotHead].seal(proof.head.body.model_copy(update={"version": 1}), SigningKey.generate())
    with pytest.raises(errors.ProofError):
        check(world, proof.model_copy(update={"head": forged}), ANN, service_key=forged.signer)


def test_another_brand_and_what_is_not_there_are_refused(world: Any) -> None:
    world.brand("other")
    for brand, purpose in (("acme", PURPOSE), ("nobody", PURPOSE)):
        with pytest.raises(errors.NotFoundError):
            world.brand("other").snapshot_proof(brand, purpose, ANN)
    with pytest.raises(errors.NotFoundError):
        world.officer.snapshot_proof("nobody", PURPOSE, ANN)
    with pytest.raises(errors.UnknownPurposeError):
        world.officer.snapshot_proof("acme", "undeclared", ANN)


def test_that_it_was_asked_is_logged_under_the_customers_key(world: Any) -> None:
    world.enrol(Role.OFFICER, "officer").snapshot_proof("acme", PURPOSE, ANN)
    world.officer.snapshot_proof("acme", PURPOSE, EVE)
    known, unknown = world.officer.search_log(LogQuery(kind="snapshot_proof_read")).entries
    assert (known.closed, unknown.closed, unknown.payload["reader"]) == (True, False, "officer")
    assert EVE not in json.dumps(unknown.payload)
    (own,) = world.brand("acme").search_log(LogQuery(subject=ANN, kind="snapshot_proof_read")).entries
    assert (own.log_index, own.payload["reader"], own.payload["subject"]) == (known.log_index, "officer", ANN)


def test_a_head_of_an_earlier_version_is_sealed_anew_and_opens_no_round(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consent.service.snapshots.VERSION", 3)
    (old,) = world.coordinator.seal_snapshots(PURPOSE, ["acme"])
    with pytest.raises(errors.StaleSnapshotError):
        world.brand("acme").current_head(PURPOSE)
    monkeypatch.undo()
    assert world.coordinator.seal_snapshots(PURPOSE, ["acme"]) == (old,)
