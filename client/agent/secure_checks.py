"""What an agent checks in a run of trust mode `distributed`: its setup, its rounds' places in it, its closings.

The coordinator carries every message and signs most of them, and is not believed: keys are those that the consent
service states as enrolled, the noise and the number of brands are those of the task, and nothing is masked, opened
or answered otherwise than once.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from client.agent.trust import BrandIdentity, TrustAnchors
from client.errors import (
    ClosingRefusalError,
    ManifestRefusalError,
    OrderRefusalError,
    RefusalError,
    SetupRefusalError,
)
from consent.contract import (
    Advertisement,
    Closing,
    RoundManifest,
    RoundRelease,
    RunSetup,
    SealedShare,
    SecureSlot,
    Signed,
    TaskSpec,
)
from consent.contract.canonical import ContractModel
from consent.errors import SignatureError
from privacy.errors import SecureSumError
from privacy.secure_sum import Advertisement as Keys
from privacy.secure_sum import Scheme

SKEW = timedelta(minutes=5)
"""How far another party's clock may be ahead of the agent's."""

Body = TypeVar("Body", bound=ContractModel)
ADVERTISEMENTS = TypeAdapter(tuple[Signed[Advertisement], ...])
SHARES = TypeAdapter(tuple[SealedShare, ...])


def read_task(text: str) -> TaskSpec:
    """Return the task that a setup came with.

    Raises:
        SetupRefusalError: it is malformed.
    """
    try:
        return TaskSpec.model_validate_json(text)
    except ValidationError:
        raise SetupRefusalError("The run's task is malformed; check both sides' versions.") from None


def read_setup(text: str, anchors: TrustAnchors) -> RunSetup:
    """Return the setup that a message carries.

    Raises:
        SetupRefusalError: it is malformed or not signed by the enrolled coordinator.
    """
    return _verified(Signed[RunSetup].model_validate_json, text, anchors, SetupRefusalError)


def read_closing(text: str, anchors: TrustAnchors) -> Closing:
    """Return the closing that a message carries.

    Raises:
        ClosingRefusalError: it is malformed or not signed by the enrolled coordinator.
    """
    return _verified(Signed[Closing].model_validate_json, text, anchors, ClosingRefusalError)


def read_shares(text: str, setup: str) -> tuple[SealedShare, ...]:
    """Return the sealed shares of a message.

    Raises:
        SetupRefusalError: they are malformed or of another setup.
    """
    try:
        shares = SHARES.validate_json(text)
    except ValidationError:
        raise SetupRefusalError("The run's shares are malformed; check both sides' versions.") from None
    if any(one.setup != setup for one in shares):
        raise SetupRefusalError("Shares are of another setup than the run's; start another run.")
    return shares


def read_advertisements(text: str, setup: RunSetup) -> tuple[Keys, ...]:
    """Return the brands' keys for a run, each signed under the key by which the setup knows the brand.

    Raises:
        SetupRefusalError: one is malformed, not signed so, or of another setup.
    """
    try:
        signed = ADVERTISEMENTS.validate_json(text)
    except ValidationError:
        raise SetupRefusalError("The run's advertisements are malformed; check both sides' versions.") from None
    enrolled, digest = {line.brand: line.key for line in setup.brands}, setup.digest()
    for one in signed:
        if one.body.setup != digest or one.body.brand not in enrolled:
            raise SetupRefusalError("An advertisement is of another setup or brand than the run's.")
        try:
            one.verify(enrolled[one.body.brand])
        except SignatureError as error:
            raise SetupRefusalError(str(error)) from None
    return tuple(_keys(one.body) for one in signed)


def scheme_of(setup: RunSetup) -> Scheme:
    """Return what a run's brands agree on for their secure sum.

    Raises:
        SetupRefusalError: no threshold holds against so many colluders and dropouts.
    """
    try:
        return Scheme(
            run=bytes.fromhex(setup.digest()),
            brands=tuple(line.brand for line in setup.brands),
            colluding=setup.colluders,
            dropouts=setup.dropouts,
            slots=setup.slots,
        )
    except SecureSumError as error:
        raise SetupRefusalError(str(error)) from None


def check_setup(setup: RunSetup, task: TaskSpec, identity: BrandIdentity, anchors: TrustAnchors) -> None:
    """Refuse a setup that is not of this task, or whose brands are not those that are enrolled.

    Raises:
        SetupRefusalError: it is not one to join.
    """
    privacy = task.privacy
    if privacy.trust_mode != "distributed" or (setup.task, setup.purpose) != (task.digest(), task.purpose):
        raise SetupRefusalError("The setup is for another task, or for one that has no secure sum.")
    if (setup.dropouts, setup.colluders) != (privacy.dropouts, privacy.colluders):
        raise SetupRefusalError("The setup's dropouts or colluders are not those that the task was approved with.")
    names = [line.brand for line in setup.brands]
    if names != sorted(set(names)):
        raise SetupRefusalError("The setup's brands are not distinct and in the order of their names.")
    try:
        enrolled = setup.enrolment.verify(anchors.consent_service).keys()
    except SignatureError as error:
        raise SetupRefusalError(str(error)) from None
    for line in setup.brands:
        if enrolled.get(line.brand) != line.key:
            raise SetupRefusalError(f"Brand {line.brand!r} is not enrolled under the key that the setup gives it.")
    keys = {line.brand: line.key for line in setup.brands}
    if keys.get(identity.brand) != identity.key.public_key:
        raise SetupRefusalError("The setup does not name this brand under its enrolled key.")


def check_setup_time(setup: RunSetup, now: datetime) -> None:
    """Refuse to join a run that is over, or on the word of an enrolment that is.

    Raises:
        SetupRefusalError: set the run up anew.
    """
    enrolment = setup.enrolment.body
    if not now <= min(setup.not_after, enrolment.not_after):
        raise SetupRefusalError("The setup or its enrolment has expired; set another run up.")
    if max(setup.opened_at, enrolment.stated_at) > now + SKEW:
        raise SetupRefusalError("The setup or its enrolment is of the future; set the clocks of both sides.")


def place_of(manifest: RoundManifest) -> SecureSlot:
    """Return where a manifest's sums are masked.

    Raises:
        ManifestRefusalError: it does not say so.
    """
    if manifest.secure_sum is None or manifest.mechanism.name != "discrete_gaussian":
        raise ManifestRefusalError("The task's sums are masked, and the manifest does not say where.")
    return manifest.secure_sum


def check_place(manifest: RoundManifest, setup: RunSetup | None) -> RunSetup:
    """Return the setup of a manifest's run, when the manifest fits it.

    Raises:
        OrderRefusalError: the run was not set up with this agent.
        ManifestRefusalError: setup, slot, brands or mechanism are not the run's.
    """
    if setup is None:
        raise OrderRefusalError("The run was not set up with this agent; send its setup and shares first.")
    place = place_of(manifest)
    if (place.setup, manifest.task) != (setup.digest(), setup.task):
        raise ManifestRefusalError("The manifest is of another setup or task than the run's.")
    if place.slot >= setup.slots:
        raise ManifestRefusalError(f"The run has {setup.slots} slots; start another run.")
    keys = {line.brand: line.key for line in setup.brands}
    asked = [line.brand for line in manifest.participants]
    if len(set(asked)) != len(asked) or any(keys.get(line.brand) != line.key for line in manifest.participants):
        raise ManifestRefusalError("The manifest asks brands that are not the setup's, or one of them twice.")
    if len(asked) < scheme_of(setup).quorum:
        raise ManifestRefusalError("The manifest asks fewer brands than must arrive for enough noise.")
    return setup


def check_chain(manifest: RoundManifest, release: str, anchors: TrustAnchors) -> None:
    """Refuse a round that does not go on from where the release of the round before it left the run.

    Raises:
        OrderRefusalError: the release is missing, of another round or run, or of another model.
    """
    if manifest.round == 0:
        return
    before = _verified(Signed[RoundRelease].model_validate_json, release, anchors, OrderRefusalError)
    if (before.run_id, before.round + 1, before.task) != (manifest.run_id, manifest.round, manifest.task):
        raise OrderRefusalError("The release that came along is not that of the round before.")
    if before.model_after != manifest.model:
        raise OrderRefusalError("The round's arrays are not those that the round before released.")


def _verified(
    parse: Callable[[str], Signed[Body]], text: str, anchors: TrustAnchors, refusal: type[RefusalError]
) -> Body:
    try:
        return parse(text).verify(anchors.coordinator)
    except ValidationError:
        raise refusal("A message of the run is missing or malformed; check both sides' versions.") from None
    except SignatureError as error:
        raise refusal(str(error)) from None


def _keys(one: Advertisement) -> Keys:
    return Keys(
        brand=one.brand,
        box_key=bytes.fromhex(one.box_key),
        slot_keys=tuple(bytes.fromhex(key) for key in one.slot_keys),
        commitments=tuple(bytes.fromhex(commitment) for commitment in one.commitments),
    )
