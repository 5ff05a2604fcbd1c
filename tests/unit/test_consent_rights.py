"""Requests that two people decide, withdrawals of everything and objections."""

import hashlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from rights_desk import CONTROLLER, PURPOSE, customer, erase_by_two, request

from consent import errors
from consent.client import ConsentClient
from consent.contract import Act, Channel, Choice, DecisionQuery, LegalBasis, Notice, Purpose
from consent.credentials import ApiKeyRequest
from consent.rights import AccessRequest, Objection, RequestKind, RequestState
from consent.searching import LogQuery
from consent.service.rights import VALID_FOR

ANN, BEN, EVE = (hashlib.sha256(name.encode()).hexdigest() for name in ("ann", "ben", "eve"))
COPY = AccessRequest(brand="acme", subject=ANN)


@pytest.fixture
def world(consent_worlds: Callable[..., Any], database_url: str) -> Any:
    world = consent_worlds(database_url=database_url)
    world.declare(PURPOSE)
    world.record("acme", Act.GRANT, ANN, BEN)
    return world


def allowed(world: Any, subject: str = ANN, purpose: str = PURPOSE, channel: Channel | None = None) -> bool:
    query = DecisionQuery(brand="acme", subject=subject, purpose=purpose, channel=channel)
    decided: bool = world.brand("acme").decide([query])[0].allowed
    return decided


def kinds(world: Any, kind: str) -> int:
    return len(world.officer.search_log(LogQuery(kind=kind)).entries)


@pytest.mark.parametrize("kind", RequestKind)
def test_who_asks_does_not_decide(world: Any, kind: RequestKind) -> None:
    for asker in (world.officer, world.brand("acme"), world.brand_admin("acme")):
        asked = asker.ask_right(request(ANN, kind))
        assert asked.state is RequestState.PENDING
        with pytest.raises(errors.ForbiddenError, match="Somebody else"):
            asker.approve_request(asked.request_id)
        assert asker.reject_request(asked.request_id).state is RequestState.REJECTED
    assert allowed(world)


def test_a_key_of_who_asked_is_nobody_else(world: Any) -> None:
    admin = world.brand_admin("acme")
    scopes = ("post:requests", "post:requests/approve")
    key = admin.create_api_key(ApiKeyRequest(label="desk", scopes=scopes, days=1)).key
    asked = admin.ask_right(request(ANN, RequestKind.ERASURE))
    with pytest.raises(errors.ForbiddenError, match="Somebody else"):
        ConsentClient(world.http, key).approve_request(asked.request_id)
    by_key = ConsentClient(world.http, key).ask_right(request(ANN, RequestKind.ERASURE))
    with pytest.raises(errors.ForbiddenError, match="Somebody else"):
        admin.approve_request(by_key.request_id)
    assert allowed(world)


def test_an_approved_erasure_is_done_at_once_and_names_nobody(world: Any) -> None:
    asked = world.brand("acme").ask_right(request(ANN, RequestKind.ERASURE))
    done = world.officer.approve_request(asked.request_id)
    assert (done.state, done.erasure.entries, done.erasure.scrubbed) == (RequestState.DONE, 2, True)
    assert not allowed(world)
    (view,) = world.brand_admin("acme").requests()
    assert view.state is RequestState.DONE
    assert ANN not in view.model_dump_json()
    (entry,) = world.officer.search_log(LogQuery(kind="rights_request_approved")).entries
    assert entry.payload["request"] == asked.request_id
    assert ANN not in str(entry.payload)


def test_a_request_is_decided_once(world: Any) -> None:
    asked = world.brand("acme").ask_right(request(ANN, RequestKind.ACCESS))
    world.officer.approve_request(asked.request_id)
    for decide in (world.officer.approve_request, world.second_officer.reject_request):
        with pytest.raises(errors.ConflictError):
            decide(asked.request_id)
    assert (kinds(world, "rights_request_approved"), kinds(world, "rights_request_rejected")) == (1, 0)


def test_a_request_expires(world: Any) -> None:
    asked = world.brand("acme").ask_right(request(ANN, RequestKind.ERASURE))
    world.clock.advance(VALID_FOR.total_seconds())
    with pytest.raises(errors.ConflictError, match="expired"):
        world.officer.approve_request(asked.request_id)
    assert [one.state for one in world.brand("acme").requests()] == [RequestState.EXPIRED]
    assert allowed(world)


def test_a_copy_is_for_who_asked_once_somebody_else_approved(world: Any) -> None:
    acme, officer = world.brand("acme"), world.officer
    asked = acme.ask_right(request(ANN, RequestKind.ACCESS))
    named = COPY.model_copy(update={"request_id": asked.request_id})
    refused = [(acme, COPY), (acme, named), (officer, named)]
    for client, wanted in refused:
        with pytest.raises(errors.ForbiddenError):
            client.access(wanted)
    officer.approve_request(asked.request_id)
    assert acme.access(named).subject == ANN
    for client, wanted in (
        (acme, COPY),
        (officer, named),
        (world.brand_admin("acme"), named),
        (acme, named.model_copy(update={"subject": BEN})),
    ):
        with pytest.raises(errors.ForbiddenError):
            client.access(wanted)
    world.clock.advance(VALID_FOR.total_seconds())
    with pytest.raises(errors.ForbiddenError):
        acme.access(named)


def test_an_approved_erasure_request_gives_no_copy(world: Any) -> None:
    acme = world.brand("acme")
    copy = acme.ask_right(request(BEN, RequestKind.ERASURE))
    world.officer.approve_request(copy.request_id)
    with pytest.raises(errors.ForbiddenError):
        acme.access(AccessRequest(brand="acme", subject=BEN, request_id=copy.request_id))


def test_an_erasure_ends_what_was_asked_about_the_customer(world: Any) -> None:
    acme = world.brand("acme")
    pending = acme.ask_right(request(ANN, RequestKind.ACCESS))
    approved = acme.ask_right(request(ANN, RequestKind.ACCESS))
    world.officer.approve_request(approved.request_id)
    erase_by_two(world, ANN)
    with pytest.raises(errors.ConflictError):
        world.officer.approve_request(pending.request_id)
    with pytest.raises(errors.ForbiddenError):
        acme.access(COPY.model_copy(update={"request_id": approved.request_id}))
    assert {one.state for one in acme.requests()} == {RequestState.DONE, RequestState.EXPIRED}


def test_a_request_about_somebody_unknown_looks_like_any_other(world: Any) -> None:
    known, unknown = (world.brand("acme").ask_right(request(who, RequestKind.ERASURE)) for who in (ANN, EVE))
    differing = {"request_id", "log_index"}
    assert known.model_dump(exclude=differing) == unknown.model_dump(exclude=differing)
    assert world.officer.approve_request(unknown.request_id).erasure.entries == 0
    with world.app.state.workplace.reading() as unit:
        assert EVE not in str(unit.session.connection().exec_driver_sql("SELECT * FROM rights_requests").all())


@pytest.mark.parametrize("by", ["customer", "brand", "officer"])
def test_one_call_withdraws_everything_and_again_changes_nothing(world: Any, by: str) -> None:
    world.declare("churn")
    world.record("acme", Act.GRANT, ANN, purpose="churn")
    email = Choice(brand="acme", subject=ANN, act=Act.GRANT, channel=Channel.EMAIL)
    world.brand("acme").record([email], idempotency_key="email")
    assert allowed(world, channel=Channel.EMAIL)
    world.coordinator.seal_snapshots(PURPOSE, ["acme"])
    client = {"customer": customer(world, ANN), "brand": world.brand("acme"), "officer": world.officer}[by]
    done = client.withdraw_everything("acme", ANN)
    assert (done.purposes, set(done.channels)) == (("churn", PURPOSE), set(Channel))
    assert len(done.log_indices) == 2 + len(Channel)
    assert not allowed(world)
    assert not allowed(world, purpose="churn")
    assert allowed(world, BEN)
    assert client.withdraw_everything("acme", ANN).log_indices == ()
    with pytest.raises(errors.StaleSnapshotError):
        world.brand("acme").current_snapshot(PURPOSE)


def test_a_withdrawal_covers_what_waits_for_confirmation(world: Any) -> None:
    """The customer had said no before; the grant that waits would come after this withdrawal."""
    world.record("acme", Act.WITHDRAW, ANN)
    world.clock.advance()
    token = world.brand("acme").ask_confirmation(world.choice("acme", ANN, Act.GRANT)).token
    world.clock.advance()
    assert world.brand("acme").withdraw_everything("acme", ANN).purposes == (PURPOSE,)
    world.clock.advance()
    with pytest.raises(errors.NotFoundError):
        world.brand("acme").confirm(token)
    assert not allowed(world)


def test_a_withdrawal_covers_every_merged_pseudonym(world: Any) -> None:
    acme = world.brand("acme")
    acme.merge("acme", ANN, BEN)
    customer(world, ANN).withdraw_everything("acme", ANN)
    acme.unmerge("acme", ANN, BEN)
    assert not allowed(world, BEN)


def test_a_customer_ends_nobody_elses_consents(world: Any) -> None:
    own = customer(world, ANN)
    for attempt in (
        lambda: own.withdraw_everything("acme", BEN),
        lambda: own.object_to(Objection(brand="acme", subject=BEN)),
        lambda: own.access(AccessRequest(brand="acme", subject=BEN)),
        lambda: own.withdraw_everything("bolt", ANN),
    ):
        with pytest.raises(errors.NotFoundError):
            attempt()
    assert allowed(world, BEN)


def test_an_objection_denies_what_rests_on_a_legitimate_interest(world: Any) -> None:
    world.operator.declare_purpose(
        Purpose(
            purpose="fraud",
            title="Fraud",
            legal_basis=LegalBasis.LEGITIMATE_INTEREST,
            data_categories=("payments",),
            retention_days=30,
        )
    )
    world.notices["fraud"] = world.operator.publish_notice(Notice(purpose="fraud", language="en", text="Fraud."))
    assert not allowed(world, purpose="fraud"), "denied by default, whatever the legal basis"
    world.record("acme", Act.GRANT, ANN, purpose="fraud")
    own = customer(world, ANN)
    done = own.object_to(Objection(brand="acme", subject=ANN))
    assert (done.purposes, done.channels) == (("fraud",), ())
    assert not allowed(world, purpose="fraud")
    assert allowed(world)
    assert own.object_to(Objection(brand="acme", subject=ANN)).log_indices == ()
    assert own.object_to(Objection(brand="acme", subject=ANN, purposes=(PURPOSE,))).purposes == (PURPOSE,)
    assert not allowed(world)
    assert kinds(world, "objection_recorded") == 2
    with pytest.raises(errors.UnknownPurposeError):
        own.object_to(Objection(brand="acme", subject=ANN, purposes=("nothing",)))


def test_an_objection_leaves_other_confirmations_waiting(world: Any) -> None:
    world.declare("churn")
    acme = world.brand("acme")
    token = acme.ask_confirmation(world.choice("acme", ANN, Act.GRANT, "churn")).token
    acme.object_to(Objection(brand="acme", subject=ANN, purposes=(PURPOSE,)))
    acme.confirm(token)
    assert allowed(world, purpose="churn")


def test_requests_of_other_brands_are_not_listed(world: Any) -> None:
    world.brand("acme").ask_right(request(ANN, RequestKind.ACCESS))
    world.clock.advance()
    world.brand("bolt").record_controller("bolt", CONTROLLER)
    world.brand("bolt").ask_right(request(ANN, RequestKind.ACCESS, "bolt"))
    assert [one.brand for one in world.brand("bolt").requests()] == ["bolt"]
    assert [one.brand for one in world.officer.requests()] == ["bolt", "acme"]
    assert timedelta() < world.officer.requests()[0].expires_at - world.clock.now <= VALID_FOR
