"""Opening a round: every condition under which brands may be asked, checked before any computes."""

from collections.abc import Sequence

from sqlalchemy import insert, select

from consent.contract import Participant, RoundManifest, Signed, TaskSpec
from consent.errors import (
    CohortTooSmallError,
    ConflictError,
    ParticipantNotEnrolledError,
    RoundRefusedError,
    TaskNotApprovedError,
)
from consent.service import closings, setups, snapshots
from consent.service.budgets import require_round
from consent.service.ledger import reserve
from consent.service.principals import brand_keys
from consent.service.tasks import approved_brands, approved_task
from consent.service.work import Caller, Unit
from consent.store.schema import ReleaseRow, RoundRow, RoundSnapshotRow, SnapshotRow


def open_round(unit: Unit, caller: Caller, signed: Signed[RoundManifest]) -> None:
    """Permit one attempt of a round and reserve what it costs; repeating the same manifest changes nothing.

    Raises:
        SignatureError: the coordinator's signature, or ours on a snapshot, does not fit.
        RoundRefusedError: the task, a participant, a cohort or a budget does not allow it.
        StaleSnapshotError: a snapshot no longer holds.
        ConflictError: the attempt, or its round, is already something else.
    """
    manifest = signed.verify(caller.public_key or "")
    unit.lock()
    if unit.session.get(RoundRow, manifest.digest()) is not None:
        return
    task = approved_task(unit.session, manifest.task, manifest.purpose)
    _check_round(unit, caller, manifest)
    setups.check_round(unit, caller, manifest, task)
    rows = _check_participants(unit, manifest, task)
    costs = require_round(unit.session, manifest, task)
    index = unit.log(
        "round_opened",
        {
            "manifest": manifest.model_dump(mode="json"),
            "digest": manifest.digest(),
            "epsilon_after": costs,
        },
    )
    _store(unit, caller, signed, rows, index)
    reserve(unit, manifest, task, index)


def _check_round(unit: Unit, caller: Caller, manifest: RoundManifest) -> None:
    if manifest.not_after <= unit.now:
        raise RoundRefusedError("The round's time is over; open a new attempt.")
    if unit.session.get(ReleaseRow, (manifest.run_id, manifest.round)) is not None:
        raise ConflictError("The round is already released; go on with the next one.")
    closings.require_open(unit.session, manifest)
    rows = unit.session.scalars(select(RoundRow).where(RoundRow.run_id == manifest.run_id)).all()
    if any(row.task != manifest.task or row.coordinator != caller.name for row in rows):
        raise ConflictError("The run belongs to another task or coordinator; take a new run id.")
    attempts = [row for row in rows if row.round == manifest.round]
    if any(row.attempt >= manifest.attempt for row in attempts):
        raise ConflictError("This attempt, or a later one, is already open; take the next attempt number.")
    if attempts:
        earlier = Signed[RoundManifest].model_validate_json(attempts[0].body).body
        if (earlier.phase, earlier.model, earlier.mechanism) != (
            manifest.phase,
            manifest.model,
            manifest.mechanism,
        ):
            raise ConflictError("An earlier attempt of this round asks for something else; open a new round.")


def _check_participants(unit: Unit, manifest: RoundManifest, task: TaskSpec) -> list[SnapshotRow]:
    brands = tuple(line.brand for line in manifest.participants)
    if len(set(brands)) != len(brands):
        raise RoundRefusedError("A brand is in the round twice.")
    if set(brands) - approved_brands(unit.session, manifest.task):
        raise TaskNotApprovedError("The task is not approved for a participant; have an officer approve it.")
    keys = brand_keys(unit.session, brands)
    if any(keys.get(line.brand) != line.key for line in manifest.participants):
        raise ParticipantNotEnrolledError("A participant's key is not the one enrolled for its brand.")
    return [_check_snapshot(unit, line, task) for line in manifest.participants]


def _check_snapshot(unit: Unit, line: Participant, task: TaskSpec) -> SnapshotRow:
    head = line.snapshot.verify(unit.keys.snapshots.public_key)
    if head.brand != line.brand or head.purpose != task.purpose:
        raise RoundRefusedError(f"The snapshot of {line.brand} is another brand's or for another purpose.")
    row = snapshots.find(unit.session, head)
    snapshots.require_current(unit, row)
    if row.members < task.minimum_cohort:
        raise CohortTooSmallError(
            f"Fewer than {task.minimum_cohort} customers of {line.brand} opted in; leave it out of the round."
        )
    return row


def _store(
    unit: Unit, caller: Caller, signed: Signed[RoundManifest], rows: Sequence[SnapshotRow], index: int
) -> None:
    manifest = signed.body
    unit.session.add(
        RoundRow(
            digest=manifest.digest(),
            run_id=manifest.run_id,
            round=manifest.round,
            attempt=manifest.attempt,
            slot=manifest.secure_sum.slot if manifest.secure_sum else None,
            purpose=manifest.purpose,
            task=manifest.task,
            coordinator=caller.name,
            body=signed.model_dump_json().encode(),
            log_index=index,
        )
    )
    unit.session.flush()
    unit.session.execute(
        insert(RoundSnapshotRow),
        [{"manifest": manifest.digest(), "brand": row.brand, "snapshot_id": row.id} for row in rows],
    )
