"""Committing a release: spends, outcome and log entry in one transaction."""

from collections.abc import Mapping, Sequence

from sqlalchemy import select

from consent.contract import Attestation, RoundManifest, RoundRelease, Signed
from consent.errors import ConflictError, NotFoundError, ParticipantNotEnrolledError, RoundRefusedError
from consent.service import closings
from consent.service.ledger import State, counted, multipliers, settle, to_commit
from consent.service.principals import brand_keys
from consent.service.work import Caller, Unit
from consent.store.schema import ReleaseRow, RoundRow, SpendRow
from privacy.accounting import epsilon


def commit_release(unit: Unit, caller: Caller, signed: Signed[RoundRelease]) -> None:
    """Commit the outcome of a round; repeating the same release changes nothing.

    Raises:
        SignatureError: the coordinator's or a brand's signature does not fit.
        ConflictError: the round is already released with another outcome.
        RoundRefusedError: the release does not fit what was opened.
    """
    release = signed.verify(caller.public_key or "")
    unit.lock()
    existing = unit.session.get(ReleaseRow, (release.run_id, release.round))
    if existing is not None:
        if existing.digest != release.digest():
            raise ConflictError("The round is already released with another outcome.")
        return
    opened = _opened(unit, caller, release)
    attested = _attested(unit, release, opened)
    masked = any(manifest.secure_sum is not None for manifest in opened.values())
    closings.check_release(unit.session, release, attested, masked=masked)
    _check_model(release, opened)
    lines = to_commit(unit.session, release.run_id, release.round, attested)
    index = unit.log(
        "release_committed",
        {
            "release": release.model_dump(mode="json"),
            "digest": release.digest(),
            "epsilon_spent": _epsilons(unit, release, lines),
        },
    )
    settle(lines, State.COMMITTED, index)
    for line in lines:
        line.manifest = attested[line.brand]
    unit.session.add(
        ReleaseRow(
            run_id=release.run_id,
            round=release.round,
            digest=release.digest(),
            model_after=release.model_after,
            coordinator=caller.name,
            body=signed.model_dump_json().encode(),
            log_index=index,
        )
    )
    unit.session.flush()


def _opened(unit: Unit, caller: Caller, release: RoundRelease) -> dict[str, RoundManifest]:
    """Return the opened attempts that the release names, by digest."""
    rows = unit.session.scalars(
        select(RoundRow).where(
            RoundRow.run_id == release.run_id,
            RoundRow.round == release.round,
            RoundRow.coordinator == caller.name,
        )
    ).all()
    if not rows:
        raise NotFoundError("No such round was opened by this coordinator.")
    opened = {row.digest: Signed[RoundManifest].model_validate_json(row.body).body for row in rows}
    named = {digest: opened[digest] for digest in release.manifests if digest in opened}
    if len(named) != len(release.manifests):
        raise RoundRefusedError("The release names an attempt twice, or one that was never opened.")
    asked = {(manifest.task, manifest.purpose) for manifest in named.values()}
    if asked != {(release.task, release.purpose)}:
        raise RoundRefusedError("The release is not of the task and purpose that its round was opened for.")
    return named


def _attested(unit: Unit, release: RoundRelease, opened: dict[str, RoundManifest]) -> dict[str, str]:
    """Return the attempt that each brand attested, by brand."""
    brands = tuple(signed.body.brand for signed in release.attestations)
    if len(set(brands)) != len(brands):
        raise RoundRefusedError("A brand attests twice in one release.")
    keys = brand_keys(unit.session, brands)
    for signed in release.attestations:
        key = keys.get(signed.body.brand)
        if key is None:
            raise ParticipantNotEnrolledError("An attestation is by a brand that is not enrolled.")
        _check_attestation(signed.verify(key), opened)
    attested = {signed.body.brand: signed.body.manifest for signed in release.attestations}
    if set(attested.values()) != set(opened):
        raise RoundRefusedError("The release names an attempt that no brand attests.")
    return attested


def _check_attestation(attestation: Attestation, opened: dict[str, RoundManifest]) -> None:
    manifest = opened.get(attestation.manifest)
    line = manifest.participant(attestation.brand) if manifest else None
    if line is None:
        raise RoundRefusedError(f"{attestation.brand} attests an attempt that did not ask it.")
    if line.snapshot.body.root != attestation.snapshot_root:
        raise RoundRefusedError(f"{attestation.brand} attests another snapshot than the round permits.")


def _check_model(release: RoundRelease, opened: Mapping[str, RoundManifest]) -> None:
    trains = all(manifest.phase.trains for manifest in opened.values())
    if not trains and release.model_after != release.model_before:
        raise RoundRefusedError("The round does not train, and its release names another model than before it.")


def _epsilons(unit: Unit, release: RoundRelease, rows: Sequence[SpendRow]) -> dict[str, float]:
    everything = counted(unit.session, release.purpose, [row.brand for row in rows])
    return {row.brand: epsilon(multipliers(everything[row.brand]), row.delta) for row in rows}
