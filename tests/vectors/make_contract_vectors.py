"""Writes `contract.json`: one value of every signed kind with its canonical bytes, digest and signature.

Other implementations can be checked against the file. It changes only when the contract does, so run this
again, and read the difference, when a test says that the two no longer agree.
"""

import json
from datetime import UTC, datetime
from pathlib import Path

from consent.contract import (
    Act,
    Attestation,
    CategoricalFeature,
    Choice,
    ContractModel,
    Label,
    Mechanism,
    NumericFeature,
    Participant,
    Phase,
    PrivacyTarget,
    RoundManifest,
    RoundRelease,
    Signed,
    SigningKey,
    SnapshotHead,
    TaskSpec,
)
from consent.contract.signing import signed_bytes

FILE = Path(__file__).with_name("contract.json")
MORNING = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
NOON = datetime(2026, 11, 2, 12, 0, 0, 250_000, tzinfo=UTC)
COORDINATOR = SigningKey.from_private_bytes(bytes(range(32)))
SERVICE = SigningKey.from_private_bytes(bytes(range(32, 64)))
BRAND = SigningKey.from_private_bytes(bytes(range(64, 96)))

TASK = TaskSpec(
    task_id="propensity-7",
    purpose="conversion",
    features=(
        NumericFeature(name="€ spent", lower=-0.0, upper=1e21, scale="log"),
        NumericFeature(name="age", lower=18, upper=99.5),
        CategoricalFeature(name="plan", levels=("basic", 'quo"ted', "\u2028line")),
    ),
    label=Label(name="bought", horizon_days=30),
    privacy=PrivacyTarget(epsilon=0.5, delta=1e-6),
)
HEAD = SnapshotHead(
    brand="ant",
    purpose="conversion",
    root="ab" * 32,
    size_class=4096,
    log_size=70_123,
    sealed_at=MORNING,
    not_after=NOON,
)
MANIFEST = RoundManifest(
    run_id="run-1",
    round=3,
    attempt=1,
    task=TASK.digest(),
    purpose="conversion",
    phase=Phase.GRADIENT,
    model="cd" * 32,
    mechanism=Mechanism(sensitivity=0.5001, noise_multiplier=33.333333333333336, grid=2.0**-17),
    participants=(
        Participant(brand="ant", key=BRAND.public_key, snapshot=Signed[SnapshotHead].seal(HEAD, SERVICE)),
    ),
    epsilon_before=0.1,
    epsilon_after=0.2,
    opened_at=MORNING,
    not_after=NOON,
)
ATTESTATION = Attestation(
    brand="ant",
    manifest=MANIFEST.digest(),
    snapshot_root=HEAD.root,
    payload="ef" * 32,
    ledger_entry=17,
    epsilon_spent=0.2,
    noise="system",
)
RELEASE = RoundRelease(
    run_id="run-1",
    round=3,
    task=TASK.digest(),
    purpose="conversion",
    manifests=(MANIFEST.digest(),),
    attestations=(Signed[Attestation].seal(ATTESTATION, BRAND),),
    aggregate="01" * 32,
    model_before="cd" * 32,
    model_after="23" * 32,
    state_after="89" * 32,
    epsilon_spent=0.2,
)
CHOICE = Choice(
    brand="ant", subject="45" * 32, act=Act.GRANT, purpose="conversion", notice="67" * 32, claimed_at=MORNING
)

VALUES: tuple[tuple[ContractModel, SigningKey], ...] = (
    (TASK, COORDINATOR),
    (HEAD, SERVICE),
    (MANIFEST, COORDINATOR),
    (ATTESTATION, BRAND),
    (RELEASE, COORDINATOR),
    (CHOICE, BRAND),
)


def document() -> str:
    """Return the vectors as JSON text."""
    vectors = []
    for value, key in VALUES:
        signed = Signed[type(value)].seal(value, key)  # type: ignore[misc]
        vectors.append(
            {
                "type": type(value).__name__,
                "value": value.model_dump(mode="json"),
                "canonical": value.canonical_bytes().decode(),
                "digest": value.digest(),
                "signed_bytes": signed_bytes(value).hex(),
                "signer": signed.signer,
                "signature": signed.signature,
            }
        )
    return json.dumps(vectors, indent=1, ensure_ascii=True) + "\n"


if __name__ == "__main__":
    FILE.write_text(document())
