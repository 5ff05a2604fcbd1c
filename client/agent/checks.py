"""What an agent checks in a round before it opens any data; the first failure refuses the round."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from pydantic import ValidationError

from client.agent.secure_checks import SKEW, check_chain, check_place, place_of
from client.agent.trust import BrandIdentity, TrustAnchors
from client.errors import ManifestRefusalError, StaleRoundError
from client.port import Arrays, ModelDelivery, RoundRequest
from consent.contract import (
    Participant,
    Phase,
    RoundManifest,
    RoundRelease,
    RunSetup,
    Signed,
    SnapshotHead,
    TaskSpec,
)
from consent.contract.plan import solver_for
from consent.errors import SignatureError
from privacy.errors import PrivacyError
from privacy.mechanisms import GridGaussian
from privacy.noise_shares import NoiseShares
from privacy.secure_sum import Ring
from privacy.solvers import AcceleratedAdditive, Query
from privacy.vectors import arrays_digest


@dataclass(frozen=True)
class CheckedRound:
    """A round whose signatures, digests, participants and mechanism were found right."""

    task: TaskSpec
    manifest: RoundManifest
    own: Participant
    snapshot: SnapshotHead
    query: Query
    solver: AcceleratedAdditive
    mechanism: GridGaussian
    setup: RunSetup | None
    """The run's; None in trust mode `local`."""

    @property
    def shares(self) -> NoiseShares:
        """How the brands of the run share the round's noise."""
        return self.solver.shares(self.query.marginals)


def check_round(
    request: RoundRequest,
    identity: BrandIdentity,
    anchors: TrustAnchors,
    setup_of: Callable[[str], RunSetup | None],
) -> CheckedRound:
    """Return the round that a request asks for.

    Args:
        request: what came in.
        identity: who is asked.
        anchors: whom it believes.
        setup_of: finds the setup that the agent joined, by the run's name.

    Raises:
        OrderRefusalError: it does not follow on the run's setup and the release of the round before.
        ManifestRefusalError: it is malformed, not signed by the enrolled coordinator, not for this brand or
            this model, or asks for less noise than the task's plan.
    """
    task, manifest = _parse(request, anchors)
    own = manifest.participant(identity.brand)
    if own is None or own.key != identity.key.public_key:
        raise ManifestRefusalError("The manifest does not name this brand under its enrolled key.")
    if manifest.task != task.digest() or manifest.purpose != task.purpose:
        raise ManifestRefusalError("The manifest is for another task or purpose than the one that came along.")
    if manifest.model != _digest(request.arrays):
        raise ManifestRefusalError("The arrays are not those of the manifest's model digest.")
    snapshot = _own_snapshot(own, manifest, anchors)
    setup = _setup(task, manifest, request.release, anchors, setup_of)
    solver = solver_for(task, brands=None if setup is None else len(setup.brands))
    query, mechanism = _plan(request.arrays, manifest, solver)
    if setup is not None:
        _check_ring(manifest, query, solver)
    return CheckedRound(task, manifest, own, snapshot, query, solver, mechanism, setup)


def check_time(checked: CheckedRound, now: datetime) -> None:
    """Refuse a round that is over, or whose snapshot is too old.

    Raises:
        StaleRoundError: open the round anew.
    """
    if not now <= min(checked.manifest.not_after, checked.snapshot.not_after):
        raise StaleRoundError("The round or its snapshot has expired; open the round anew.")
    if checked.setup is not None and checked.manifest.opened_at > now + SKEW:
        raise StaleRoundError("The round is of the future; set the clocks of both sides and open it anew.")


def check_delivery(delivery: ModelDelivery, anchors: TrustAnchors) -> tuple[TaskSpec, RoundRelease]:
    """Return the task and release of a delivered model.

    Raises:
        ManifestRefusalError: it is malformed, not signed by the enrolled coordinator, or of other arrays.
    """
    try:
        task = TaskSpec.model_validate_json(delivery.task)
        signed = Signed[RoundRelease].model_validate_json(delivery.release)
        release = signed.verify(anchors.coordinator)
    except (ValidationError, SignatureError):
        raise ManifestRefusalError("The model's release is malformed or not the coordinator's.") from None
    if release.model_after != _digest(delivery.arrays):
        raise ManifestRefusalError("The model's arrays are not those that were released.")
    if release.task != task.digest() or release.purpose != task.purpose:
        raise ManifestRefusalError("The model was released for another task or purpose.")
    if release.round != task.total_rounds - 1:
        raise ManifestRefusalError("The release is not that of the task's last round; its model is not finished.")
    _check_model(task, delivery.arrays)
    return task, release


def _check_model(task: TaskSpec, arrays: Arrays) -> None:
    try:
        solver_for(task).model_from(Query.from_arrays(arrays))
    except PrivacyError as error:
        raise ManifestRefusalError(str(error)) from None


def _digest(arrays: Arrays) -> str:
    try:
        return arrays_digest(arrays)
    except TypeError as error:
        raise ManifestRefusalError(str(error)) from None


def _parse(request: RoundRequest, anchors: TrustAnchors) -> tuple[TaskSpec, RoundManifest]:
    try:
        task = TaskSpec.model_validate_json(request.task)
        signed = Signed[RoundManifest].model_validate_json(request.manifest)
        return task, signed.verify(anchors.coordinator)
    except ValidationError:
        raise ManifestRefusalError("The task or manifest is malformed; check both sides' versions.") from None
    except SignatureError as error:
        raise ManifestRefusalError(str(error)) from None


def _own_snapshot(own: Participant, manifest: RoundManifest, anchors: TrustAnchors) -> SnapshotHead:
    try:
        head = own.snapshot.verify(anchors.consent_service)
    except SignatureError as error:
        raise ManifestRefusalError(str(error)) from None
    if (head.brand, head.purpose) != (own.brand, manifest.purpose):
        raise ManifestRefusalError("The manifest carries the snapshot of another brand or purpose.")
    return head


def _setup(
    task: TaskSpec,
    manifest: RoundManifest,
    release: str,
    anchors: TrustAnchors,
    setup_of: Callable[[str], RunSetup | None],
) -> RunSetup | None:
    """Return the setup of a round whose sums are masked, when the round has its place in the run."""
    if task.privacy.trust_mode == "local":
        if manifest.secure_sum is not None or manifest.mechanism.name != "grid_gaussian":
            raise ManifestRefusalError("The task's sums are not masked, and the manifest says that they are.")
        return None
    setup = check_place(manifest, setup_of(manifest.run_id))
    check_chain(manifest, release, anchors)
    return setup


def _check_ring(manifest: RoundManifest, query: Query, solver: AcceleratedAdditive) -> None:
    """Refuse a ring in which the sum could wrap.

    The size classes of the others are the coordinator's word: were they too small, the sum alone would be wrong.
    """
    classes = (line.snapshot.body.size_class for line in manifest.participants)
    try:
        largest = solver.largest_sum(query.marginals, size_class=max(classes), brands=len(manifest.participants))
        bits = Ring.holding(largest).bits
    except PrivacyError as error:
        raise ManifestRefusalError(str(error)) from None
    if place_of(manifest).ring_bits < bits:
        raise ManifestRefusalError(f"The sum could wrap in the manifest's ring; it needs {bits} bits.")


def _plan(arrays: Arrays, manifest: RoundManifest, solver: AcceleratedAdditive) -> tuple[Query, GridGaussian]:
    """Return the query and the noise of the round, both by the task's plan and never by the manifest's word."""
    try:
        query = Query.from_arrays(arrays)
        solver.check_query(query)
        mechanism = solver.mechanism(query.marginals)
    except PrivacyError as error:
        raise ManifestRefusalError(str(error)) from None
    first = query.marginals is None
    if first != (manifest.round == 0) or manifest.phase is not (Phase.MARGINALS if first else Phase.GRADIENT):
        raise ManifestRefusalError("The manifest's phase does not fit its round and arrays.")
    if manifest.round >= solver.total_rounds:
        raise ManifestRefusalError(f"The task has {solver.total_rounds} rounds; round {manifest.round} is over.")
    asked = manifest.mechanism
    if (asked.sensitivity, asked.noise_multiplier, asked.grid) != (
        mechanism.sensitivity,
        mechanism.noise_multiplier,
        mechanism.grid,
    ):
        raise ManifestRefusalError("The manifest's noise is not that of the task's plan.")
    return query, mechanism
