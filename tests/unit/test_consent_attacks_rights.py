"""Attacks on customers' rights: guesses, erasures, unverified requests, silent reads and other purposes."""

import hashlib
import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError
from rights_desk import CONTROLLER, PURPOSE, TASK, customer, erase_by_two, hold_round, request
from sqlalchemy import select

from consent import errors
from consent.contract import Act, DecisionQuery
from consent.log.commitments import commit
from consent.log.verify import verify_folder
from consent.rights import AccessRequest, Objection, ReceiptRequest, RequestKind, RightsRequest
from consent.searching import LogQuery
from consent.service import erasure
from consent.store.customers import MergeRow
from consent.store.schema import Base
from consent.wire import GuardianRecord

ANN, BEN, EVE = (hashlib.sha256(name.encode()).hexdigest() for name in ("ann", "ben", "eve"))
NAMES_A_CUSTOMER = {"subject", "one", "other", "guardian", "pseudonym"}
BY_OTHER_MEANS = {("merges", "one"), ("merges", "other"), ("guardians", "guardian"), ("choices", "guardian")}
"""Columns that the erasure handles one by one: see `consent.service.erasure`."""


@pytest.fixture
def world(consent_worlds: Callable[..., Any], database_url: str) -> Any:
    world = consent_worlds(database_url=database_url)
    for purpose in (PURPOSE, "churn"):
        world.declare(purpose)
    world.record("acme", Act.GRANT, ANN, BEN)
    return world


def allowed(world: Any, subject: str) -> bool:
    query = DecisionQuery(brand="acme", subject=subject, purpose=PURPOSE)
    decided: bool = world.brand("acme").decide([query])[0].allowed
    return decided


def rows(world: Any) -> str:
    """Return every value of every table but the log's own, where sealed bytes are."""
    with world.app.state.workplace.reading() as unit:
        return "\n".join(
            str(tuple(row))
            for table in Base.metadata.sorted_tables
            for row in unit.session.execute(select(table))
            if table.name != "log_entries"
        )


def test_row_13_a_receipt_opens_its_own_entry_and_helps_no_guess_of_another(world: Any) -> None:
    world.brand("acme").record_controller("acme", CONTROLLER)
    world.record("acme", Act.GRANT, EVE)
    wanted = ReceiptRequest(brand="acme", subject=ANN, purpose=PURPOSE)
    media = json.loads(customer(world, ANN).receipt(wanted))["schema:associatedMedia"]
    opening = json.loads(next(one["schema:text"] for one in media if one["schema:name"].endswith(".json")))
    salt, mine = (
        bytes.fromhex(opening["salt"]),
        json.dumps(opening["payload"], separators=(",", ":"), sort_keys=True),
    )
    published = b"".join(path.read_bytes() for path in world.settings.log_dir.rglob("tile/**/*") if path.is_file())
    assert commit(salt, mine.encode()) in published
    theirs = mine.replace(ANN, BEN)
    assert theirs != mine
    assert commit(salt, theirs.encode()) not in published
    assert EVE not in json.dumps(media)
    assert BEN not in json.dumps(media)


def fill_every_table(world: Any) -> None:
    """Have each table that names customers name Ann."""
    acme = world.brand("acme")
    acme.ask_confirmation(world.choice("acme", ANN, Act.GRANT, "churn"))
    acme.merge("acme", ANN, BEN)
    acme.appoint_guardian(
        GuardianRecord(brand="acme", subject=EVE, guardian=ANN, until=world.clock.now.replace(year=2030))
    )
    guarded = world.choice("acme", EVE, Act.GRANT, guardian=ANN)
    world.clock.advance()
    acme.record([guarded], idempotency_key="guarded")
    acme.appoint_guardian(
        GuardianRecord(brand="acme", subject=ANN, guardian=EVE, until=world.clock.now.replace(year=2030))
    )
    acme.ask_right(request(ANN, RequestKind.ACCESS))
    acme.participation("acme", ANN)
    customer(world, ANN).withdraw_everything("acme", ANN)


def test_row_14_no_row_names_an_erased_customer(world: Any) -> None:
    fill_every_table(world)
    assert ANN in rows(world)
    assert erase_by_two(world, ANN).scrubbed
    assert ANN not in rows(world)
    assert BEN not in rows(world), "merged with the one who was erased, and so the same customer"
    assert EVE in rows(world)
    assert verify_folder(world.settings.log_dir).findings == []


def test_row_14_every_column_that_names_a_customer_is_taken_care_of() -> None:
    """A new table that names customers fails here until the erasure knows it."""
    found = {
        (table.name, column.name)
        for table in Base.metadata.sorted_tables
        for column in table.columns
        if column.name in NAMES_A_CUSTOMER
    }
    by_subject = {(table.__tablename__, "subject") for table in erasure.NAMING_ONE_CUSTOMER}
    assert found == by_subject | BY_OTHER_MEANS | {("rights_requests", "subject"), ("subject_tokens", "subject")}


def test_row_14_the_erasure_of_one_half_lifts_no_denial_of_the_other(world: Any) -> None:
    """Ben said no, and is Ann: with Ben gone, nothing else would say so."""
    acme = world.brand("acme")
    world.record("acme", Act.WITHDRAW, BEN)
    acme.merge("acme", ANN, BEN)
    assert not allowed(world, ANN)
    erase_by_two(world, BEN)
    assert not allowed(world, ANN)
    with pytest.raises(errors.NotFoundError):
        acme.unmerge("acme", ANN, BEN)
    acme.merge("acme", ANN, BEN)
    assert not allowed(world, ANN)
    acme.unmerge("acme", ANN, BEN)
    assert not allowed(world, ANN)


def test_row_14_a_half_that_was_unmerged_before_stays(world: Any) -> None:
    acme = world.brand("acme")
    acme.merge("acme", ANN, BEN)
    acme.unmerge("acme", ANN, BEN)
    erase_by_two(world, BEN)
    assert allowed(world, ANN)
    with world.app.state.workplace.reading() as unit:
        assert unit.session.scalars(select(MergeRow)).all() == []
    acme.merge("acme", ANN, BEN)
    assert not allowed(world, ANN), "merged with somebody unknown"


def test_row_14_the_ward_of_an_erased_guardian_can_not_grant_alone(world: Any) -> None:
    acme = world.brand("acme")
    acme.appoint_guardian(
        GuardianRecord(brand="acme", subject=EVE, guardian=ANN, until=world.clock.now.replace(year=2030))
    )
    erase_by_two(world, ANN)
    for number, guardian in enumerate((None, ANN)):
        grant = world.choice("acme", EVE, Act.GRANT, guardian=guardian)
        with pytest.raises(errors.InvalidRequestError):
            acme.record([grant], idempotency_key=f"ward-{number}")


def test_row_14_a_cohort_is_sealed_anew_after_an_erasure(world: Any) -> None:
    world.coordinator.seal_snapshots(PURPOSE, ["acme"])
    erase_by_two(world, ANN)
    with pytest.raises(errors.StaleSnapshotError):
        world.brand("acme").current_snapshot(PURPOSE)
    world.coordinator.seal_snapshots(PURPOSE, ["acme"])
    assert world.brand("acme").current_snapshot(PURPOSE).members == (BEN,)


def test_row_15_there_is_no_request_without_a_verified_identity(world: Any) -> None:
    world.brand("acme")
    headers = {"Authorization": f"Bearer {world.tokens['acme']}"}
    body = {"brand": "acme", "subject": ANN, "kind": "erasure"}
    for verified in ({}, {"verified_by": None}, {"verified_by": ""}, {"verified_by": "nobody"}):
        response = world.http.post("/v1/requests", json=body | verified, headers=headers)
        assert (response.status_code, response.json()["code"]) == (422, "invalid_request")
        with pytest.raises(ValidationError):
            RightsRequest.model_validate(body | verified)
    assert world.officer.requests() == ()


def test_row_15_a_second_request_does_not_ride_on_one_that_was_approved(world: Any) -> None:
    acme, officer = world.brand("acme"), world.officer
    verified, other = (acme.ask_right(request(ANN, RequestKind.ACCESS)) for _ in range(2))
    officer.approve_request(verified.request_id)
    with pytest.raises(errors.ForbiddenError):
        acme.access(AccessRequest(brand="acme", subject=ANN, request_id=other.request_id))
    erasure_asked = acme.ask_right(request(ANN, RequestKind.ERASURE))
    assert {one.request_id: one.state.value for one in acme.requests()} == {
        verified.request_id: "approved",
        other.request_id: "pending",
        erasure_asked.request_id: "pending",
    }
    assert allowed(world, ANN)


def test_row_15_nobody_else_may_use_a_customers_token(world: Any) -> None:
    own = customer(world, ANN)
    for attempt in (
        lambda: own.ask_right(request(ANN, RequestKind.ERASURE)),
        lambda: own.approve_request("0" * 32),
        own.requests,
    ):
        with pytest.raises(errors.ForbiddenError):
            attempt()
    world.clock.advance(3_601)
    with pytest.raises(errors.UnauthenticatedError):
        own.access(AccessRequest(brand="acme", subject=ANN))


def test_row_27_every_look_at_a_customer_is_an_entry(world: Any) -> None:
    acme, officer = world.brand("acme"), world.officer
    acme.record_controller("acme", CONTROLLER)
    asked = officer.ask_right(request(ANN, RequestKind.ACCESS))
    acme.approve_request(asked.request_id)
    named = AccessRequest(brand="acme", subject=ANN, request_id=asked.request_id)
    officer.access(named)
    officer.access_page(named)
    officer.participation("acme", ANN)
    officer.receipt(ReceiptRequest(brand="acme", subject=ANN, purpose=PURPOSE))
    own = customer(world, ANN)
    told = own.access(AccessRequest(brand="acme", subject=ANN))
    looks = [
        (entry.payload["kind"], entry.payload.get("reader") or entry.payload.get("by"))
        for entry in told.entries[1:]
    ]
    assert looks == [
        ("rights_requested", "officer"),
        ("statement_given", "officer"),
        ("statement_given", "officer"),
        ("participation_read", "officer"),
        ("receipt_issued", "officer"),
        ("subject_token_minted", "brand_admin"),
        ("statement_given", "subject"),
    ]


def test_row_27_no_one_person_exports_a_customer(world: Any) -> None:
    """Whoever asks needs somebody else, in every combination of who may ask and approve."""
    people = {"brand": world.brand("acme"), "officer": world.officer, "admin": world.brand_admin("acme")}
    for asker, approver in itertools.product(people, people):
        asked = people[asker].ask_right(request(ANN, RequestKind.ACCESS))
        named = AccessRequest(brand="acme", subject=ANN, request_id=asked.request_id)
        if asker == approver:
            with pytest.raises(errors.ForbiddenError):
                people[approver].approve_request(asked.request_id)
            with pytest.raises(errors.ForbiddenError):
                people[asker].access(named)
        else:
            people[approver].approve_request(asked.request_id)
            assert people[asker].access(named).subject == ANN
    assert len(world.officer.search_log(LogQuery(kind="rights_request_approved")).entries) == 6


def test_row_31_consent_to_one_purpose_is_none_to_another(world: Any) -> None:
    world.record("acme", Act.GRANT, EVE, purpose="churn")
    hold_round(world)
    told = customer(world, EVE).access(AccessRequest(brand="acme", subject=EVE))
    assert {line.purpose: line.allowed for line in told.consents} == {PURPOSE: False, "churn": True}
    assert told.rounds == ()
    world.brand("acme").object_to(Objection(brand="acme", subject=EVE, purposes=("churn",)))
    assert customer(world, ANN).access(AccessRequest(brand="acme", subject=ANN)).consents[1].allowed


def test_row_31_a_task_of_one_purpose_opens_no_round_for_another(world: Any) -> None:
    world.officer.approve_task(TASK, 2.0, ["acme"])
    assert world.coordinator
    with pytest.raises(errors.RoundRefusedError):
        hold_round(world, purpose="churn")
