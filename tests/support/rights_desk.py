"""What tests of customers' rights share: a controller, a customer's own token, and a whole round."""

from typing import Any

from round_papers import PURPOSE, Rounds, task_of

from consent.client import ConsentClient
from consent.contract import RoundManifest
from consent.credentials import SubjectTokenRequest
from consent.rights import ControllerFacts, RequestKind, RightsRequest, Verification
from consent.wire import Erasure

CONTROLLER = ControllerFacts(
    name="Acme GmbH",
    address="1 Main Street, 10115 Berlin",
    contact="privacy@acme.example",
    jurisdiction="DE",
    storage_locations=("DE", "IE"),
    recipients=("Hosting Ltd",),
    withdrawal_url="https://acme.example/withdraw",
    rights_url="https://acme.example/rights",
    authority="Berlin Commissioner for Data Protection",
)
TASK = task_of()


def customer(world: Any, subject: str, brand: str = "acme") -> ConsentClient:
    """Return the client of a customer whose brand had a token made for them."""
    wanted = SubjectTokenRequest(brand=brand, subject=subject, verified_by="account_login", minutes=60)
    return ConsentClient(world.http, world.brand_admin(brand).mint_subject_token(wanted).token)


def request(subject: str, kind: RequestKind, brand: str = "acme") -> RightsRequest:
    return RightsRequest(brand=brand, subject=subject, kind=kind, verified_by=Verification.DOCUMENT)


def erase_by_two(world: Any, subject: str, brand: str = "acme") -> Erasure:
    """Have one officer ask for an erasure and another approve it."""
    asked = world.officer.ask_right(request(subject, RequestKind.ERASURE, brand))
    done = world.second_officer.approve_request(asked.request_id).erasure
    assert isinstance(done, Erasure)
    return done


def hold_round(world: Any, number: int = 0, *, release: bool = True, purpose: str = PURPOSE) -> RoundManifest:
    """Open a round over one brand's opted-in customers, and commit its outcome."""
    rounds = Rounds.approved(world, "acme", task=TASK)
    manifest = rounds.manifest(round=number, purpose=purpose)
    rounds.open(manifest)
    if release:
        rounds.commit(rounds.release(manifest))
    return manifest
