"""What tests of customers' rights share: a controller, a customer's own token, and a whole round."""

from datetime import timedelta
from typing import Any

from consent.client import ConsentClient
from consent.contract import (
    Attestation,
    Label,
    Mechanism,
    NumericFeature,
    Participant,
    Phase,
    PrivacyTarget,
    RoundManifest,
    RoundRelease,
    Signed,
    TaskSpec,
)
from consent.credentials import SubjectTokenRequest
from consent.rights import ControllerFacts, RequestKind, RightsRequest, Verification
from consent.wire import Erasure

PURPOSE = "conversion"
DIGEST = "ab" * 32
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
TASK = TaskSpec(
    task_id="propensity",
    purpose=PURPOSE,
    features=(NumericFeature(name="age", lower=18, upper=99),),
    label=Label(name="bought"),
    privacy=PrivacyTarget(epsilon=2.0, delta=1e-6),
    minimum_cohort=2,
)


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
    assert world.coordinator
    world.brand("acme")
    world.officer.approve_task(TASK, 2.0, ["acme"])
    (head,) = world.coordinator.seal_snapshots(purpose, ["acme"])
    manifest = RoundManifest(
        run_id="run",
        round=number,
        attempt=0,
        task=TASK.digest(),
        purpose=purpose,
        phase=Phase.GRADIENT,
        model=DIGEST,
        mechanism=Mechanism(sensitivity=1.0, noise_multiplier=16.0, grid=0.001),
        epsilon_before=0.0,
        epsilon_after=1.0,
        opened_at=world.clock.now,
        not_after=world.clock.now + timedelta(days=3),
        participants=(Participant(brand="acme", key=world.keys["acme"].public_key, snapshot=head),),
    )
    world.coordinator.open_round(Signed[RoundManifest].seal(manifest, world.keys["coordinator"]))
    if release:
        world.coordinator.commit_release(
            Signed[RoundRelease].seal(_release(world, manifest), world.keys["coordinator"])
        )
    return manifest


def _release(world: Any, manifest: RoundManifest) -> RoundRelease:
    attested = Attestation(
        brand="acme",
        manifest=manifest.digest(),
        snapshot_root=manifest.participants[0].snapshot.body.root,
        payload=DIGEST,
        ledger_entry=1,
        epsilon_spent=0.5,
        noise="system",
    )
    return RoundRelease(
        run_id=manifest.run_id,
        round=manifest.round,
        task=manifest.task,
        purpose=manifest.purpose,
        manifests=(manifest.digest(),),
        attestations=(Signed[Attestation].seal(attested, world.keys["acme"]),),
        aggregate=DIGEST,
        model_before=DIGEST,
        model_after=DIGEST,
        state_after=DIGEST,
        epsilon_spent=0.5,
    )
