"""Receipts: what they tell is what was logged, and a customer checks that with nothing but the file and a key."""

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rights_desk import CONTROLLER, PURPOSE, customer
from typer.testing import CliRunner

from consent import errors
from consent.commands import audit
from consent.contract import Act, LegalBasis, Notice, Purpose
from consent.log.verify import read_trust
from consent.receipts import check_receipt
from consent.rights import ReceiptRequest
from consent.searching import LogQuery

ANN, BEN = (hashlib.sha256(name.encode()).hexdigest() for name in ("ann", "ben"))
PROFILES = ("record", "record-eu-gdpr", "receipt", "receipt-eu-gdpr")


@pytest.fixture
def world(consent_worlds: Callable[..., Any], database_url: str) -> Any:
    world = consent_worlds(database_url=database_url)
    world.declare(PURPOSE)
    world.brand("acme").record_controller("acme", CONTROLLER)
    return world


def issue(world: Any, profile: str = "receipt-eu-gdpr", subject: str = ANN, purpose: str = PURPOSE) -> Any:
    wanted = ReceiptRequest(brand="acme", subject=subject, purpose=purpose, profile=profile)
    return json.loads(world.brand("acme").receipt(wanted))


def record_of(document: Any) -> Any:
    return document.get("dpv:hasRecordOfActivity", document)


def states(document: Any) -> list[str]:
    return [status["@type"] for status in record_of(document)["dpv:hasConsentStatus"]]


def verdict(world: Any, document: Any) -> str:
    trust = read_trust(world.settings.log_dir / "vkey", None)
    return check_receipt(json.dumps(document).encode(), trust).why


@pytest.mark.parametrize("profile", PROFILES)
def test_a_receipt_says_who_what_and_under_which_notice(world: Any, profile: str) -> None:
    world.record("acme", Act.GRANT, ANN)
    document = issue(world, profile)
    record = record_of(document)
    assert document["dct:conformsTo"] == f"https://w3id.org/dpv/schema/dpv-27560#{profile}"
    assert document["@type"] == ("dpv:ConsentReceipt" if "receipt" in profile else "dpv:ConsentRecord")
    assert record["dpv:hasDataSubject"]["dpv:hasIdentifier"] == ANN
    assert record["dpv:hasEntity"][0]["dpv:hasAddress"] == CONTROLLER.address
    assert record["dpv:hasNotice"]["schema:text"] == f"May we use your data for {PURPOSE}?"
    assert record["dpv:hasNotice"]["dpv:hasIdentifier"] == f"sha256:{world.notices[PURPOSE]}"
    assert ("dpv:hasAuthority" in record["dpv:hasProcess"]) == ("eu-gdpr" in profile)
    assert verdict(world, document) == ""


def test_the_history_is_that_of_the_log(world: Any) -> None:
    for act in (Act.GRANT, Act.GRANT, Act.WITHDRAW, Act.GRANT, Act.WITHDRAW):
        world.record("acme", act, ANN)
    document = issue(world)
    given, renewed, withdrawn = "dpv:ConsentGiven", "dpv:RenewedConsentGiven", "dpv:ConsentWithdrawn"
    assert states(document) == [given, renewed, withdrawn, renewed, withdrawn]
    assert verdict(world, document) == ""


def test_a_grant_that_a_withdrawal_wins_over_is_no_consent(world: Any) -> None:
    acme = world.brand("acme")
    world.record("acme", Act.GRANT, ANN)
    acme.record([world.choice("acme", ANN, Act.WITHDRAW)], idempotency_key="withdraw")
    acme.record([world.choice("acme", ANN, Act.GRANT)], idempotency_key="tie")
    assert states(issue(world))[-1] == "dpv:ConsentInvalidated"


def test_a_grant_that_lapsed_says_when_and_why(world: Any) -> None:
    acme = world.brand("acme")
    ends = world.clock.now.replace(hour=23)
    acme.record([world.choice("acme", ANN, Act.GRANT, expires_at=ends)], idempotency_key="short")
    world.record("acme", Act.GRANT, BEN)
    assert states(issue(world)) == ["dpv:ConsentGiven"]
    world.clock.advance(86_400)
    assert states(issue(world)) == ["dpv:ConsentGiven", "dpv:ConsentExpired"]
    said = record_of(issue(world))["dpv:hasConsentStatus"]
    assert said[0]["dpv:hasDuration"]["rdf:value"] == said[1]["dpv:isIndicatedAtTime"] == "2026-11-02T23:00:00Z"
    world.officer.publish_notice(
        Notice(purpose=PURPOSE, language="en", text="May we also share it?", replaces=world.notices[PURPOSE])
    )
    assert states(issue(world, subject=BEN)) == ["dpv:ConsentGiven", "dpv:ConsentInvalidated"]
    assert verdict(world, issue(world, subject=BEN)) == ""


def test_explicit_consent_to_special_categories_names_article_9(world: Any) -> None:
    world.operator.declare_purpose(
        Purpose(
            purpose="health",
            title="Health",
            legal_basis=LegalBasis.CONSENT,
            data_categories=("diet",),
            retention_days=30,
            special_category=True,
        )
    )
    world.notices["health"] = world.operator.publish_notice(Notice(purpose="health", language="en", text="Diet?"))
    choice = world.choice("acme", ANN, Act.GRANT, "health", explicit=True, collection_point="till-7")
    world.brand("acme").record([choice], idempotency_key="explicit")
    process = record_of(issue(world, purpose="health"))["dpv:hasProcess"]
    assert process["dpv:hasLegalBasis"] == ["dpv:ExplicitlyExpressedConsent", "eu-gdpr:A9-2-a"]
    assert process["dpv:hasPersonalData"][0]["@type"] == "dpv:SpecialCategoryPersonalData"
    (status,) = record_of(issue(world, purpose="health"))["dpv:hasConsentStatus"]
    assert status["dpv:hasIndicationMethod"] == "form at till-7"


def change_subject(document: Any) -> None:
    record_of(document)["dpv:hasDataSubject"]["dpv:hasIdentifier"] = BEN


def change_purpose(document: Any) -> None:
    record_of(document)["dpv:hasProcess"]["dpv:hasPurpose"]["dct:identifier"] = "churn"


def change_brand(document: Any) -> None:
    record_of(document)["dpv:hasEntity"][0]["dpv:hasIdentifier"] = "bolt"


def change_time(document: Any) -> None:
    record_of(document)["dpv:hasConsentStatus"][0]["dpv:isIndicatedAtTime"] = "2020-01-01T00:00:00Z"


def hide_withdrawal(document: Any) -> None:
    record_of(document)["dpv:hasConsentStatus"][1]["@type"] = "dpv:RenewedConsentGiven"


def change_notice(document: Any) -> None:
    record_of(document)["dpv:hasNotice"]["schema:text"] = "May we sell your data?"


def change_notice_and_hash(document: Any) -> None:
    notice = record_of(document)["dpv:hasNotice"]
    notice["schema:text"] = "May we sell your data?"
    notice["dpv:hasIdentifier"] = "sha256:" + hashlib.sha256(notice["schema:text"].encode()).hexdigest()


def drop_proof(document: Any) -> None:
    document["schema:associatedMedia"].pop(0)


def drop_acts(document: Any) -> None:
    record_of(document)["dpv:hasConsentStatus"] = []


def swap_openings(document: Any) -> None:
    media = document["schema:associatedMedia"]
    media[1]["schema:text"], media[3]["schema:text"] = media[3]["schema:text"], media[1]["schema:text"]


def change_salt(document: Any) -> None:
    media = document["schema:associatedMedia"][1]
    media["schema:text"] = media["schema:text"][:-34] + "0" * 32 + '"}'


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (change_subject, "(subject)"),
        (change_purpose, "(purpose)"),
        (change_brand, "(brand)"),
        (change_time, "(recorded_at)"),
        (hide_withdrawal, "(act)"),
        (change_notice, "does not have the notice's hash"),
        (change_notice_and_hash, "under another notice"),
        (drop_proof, "not a consent record"),
        (drop_acts, "tells of no act"),
        (swap_openings, "of another entry"),
        (change_salt, "not what this one commits to"),
    ],
)
def test_a_receipt_that_was_changed_does_not_verify(
    consent_world: Any, change: Callable[[Any], None], why: str
) -> None:
    consent_world.brand("acme").record_controller("acme", CONTROLLER)
    consent_world.record("acme", Act.GRANT, ANN)
    consent_world.record("acme", Act.WITHDRAW, ANN)
    document = issue(consent_world)
    assert verdict(consent_world, document) == ""
    change(document)
    assert why in verdict(consent_world, document)


def test_another_logs_key_verifies_nothing(consent_world: Any, consent_worlds: Callable[..., Any]) -> None:
    consent_world.brand("acme").record_controller("acme", CONTROLLER)
    consent_world.record("acme", Act.GRANT, ANN)
    trust = read_trust(consent_worlds().settings.log_dir / "vkey", None)
    assert not check_receipt(json.dumps(issue(consent_world)).encode(), trust).verified


def test_the_attached_files_verify_with_the_command_and_by_hand(consent_world: Any, tmp_path: Path) -> None:
    """The opening gives the leaf with SHA-256 alone: 0x01 || SHA-256(salt || payload) is the proof's entry."""
    consent_world.brand("acme").record_controller("acme", CONTROLLER)
    (index,) = consent_world.record("acme", Act.GRANT, ANN)
    files = {
        media["schema:name"]: media["schema:text"] for media in issue(consent_world)["schema:associatedMedia"]
    }
    proof, opening = tmp_path / "proof", tmp_path / "opening"
    proof.write_text(files[f"entry-{index}.tlog-proof"])
    opening.write_text(files[f"entry-{index}.opening.json"])
    vkey = str(consent_world.settings.log_dir / "vkey")
    command = ["check-proof", str(proof), "--vkey", vkey, "--opening", str(opening)]
    result = CliRunner().invoke(audit, command)
    assert (result.exit_code, result.output.splitlines()[-1]) == (0, "VERIFIED")
    line = opening.read_text()
    payload = line[line.index('"payload":') + 10 : line.rindex(',"salt":"')]
    digest = hashlib.sha256(bytes.fromhex(json.loads(line)["salt"]) + payload.encode()).digest()
    extra = proof.read_text().splitlines()[1].removeprefix("extra ")
    assert b"\x01" + digest == base64.b64decode(extra)


def test_the_command_checks_a_receipt(consent_world: Any, tmp_path: Path) -> None:
    consent_world.brand("acme").record_controller("acme", CONTROLLER)
    consent_world.record("acme", Act.GRANT, ANN)
    document, file = issue(consent_world), tmp_path / "receipt.jsonld"
    command = ["check-receipt", str(file), "--vkey", str(consent_world.settings.log_dir / "vkey")]
    file.write_text(json.dumps(document))
    good = CliRunner().invoke(audit, command)
    assert (good.exit_code, good.output.splitlines()[-1]) == (0, "VERIFIED")
    change_subject(document)
    file.write_text(json.dumps(document))
    assert CliRunner().invoke(audit, command).exit_code == 1
    assert CliRunner().invoke(audit, [*command[:1], str(tmp_path / "none"), *command[2:]]).exit_code == 2


def test_who_never_granted_has_no_receipt_and_that_was_asked_is_logged(world: Any) -> None:
    world.record("acme", Act.WITHDRAW, ANN)
    for subject in (ANN, BEN):
        with pytest.raises(errors.NotFoundError, match="never granted"):
            issue(world, subject=subject)
    assert len(world.officer.search_log(LogQuery(kind="receipt_issued")).entries) == 2


def test_a_receipt_needs_a_controller_on_record(world: Any) -> None:
    world.brand("bolt")
    with pytest.raises(errors.ConflictError, match="controller"):
        world.brand("bolt").receipt(ReceiptRequest(brand="bolt", subject=ANN, purpose=PURPOSE))


def test_the_customer_gets_their_own_receipt_and_no_other(world: Any) -> None:
    world.record("acme", Act.GRANT, ANN, BEN)
    own = customer(world, ANN)
    document = json.loads(own.receipt(ReceiptRequest(brand="acme", subject=ANN, purpose=PURPOSE)))
    assert verdict(world, document) == ""
    with pytest.raises(errors.NotFoundError):
        own.receipt(ReceiptRequest(brand="acme", subject=BEN, purpose=PURPOSE))


def test_the_record_keeps_its_number_and_each_receipt_has_its_own(world: Any) -> None:
    world.record("acme", Act.GRANT, ANN)
    first, second = issue(world), issue(world)
    assert record_of(first)["@id"] == record_of(second)["@id"]
    assert first["@id"] != second["@id"]


def test_a_controller_is_logged_once_per_change(world: Any) -> None:
    kind = LogQuery(kind="controller_recorded")
    world.officer.record_controller("acme", CONTROLLER)
    assert len(world.officer.search_log(kind).entries) == 1
    moved = CONTROLLER.model_copy(update={"address": "2 Side Street"})
    world.officer.record_controller("acme", moved)
    assert [hit.payload["controller"]["address"] for hit in world.officer.search_log(kind).entries] == [
        CONTROLLER.address,
        moved.address,
    ]
    with pytest.raises(errors.NotFoundError):
        world.brand("bolt").record_controller("acme", CONTROLLER)
