"""What the brands of a run agree on before its first round of a secure sum: checked, logged, once a run."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from consent.contract import RoundManifest, RunSetup, Signed, TaskSpec
from consent.errors import ConflictError, ParticipantNotEnrolledError, RoundRefusedError, TaskNotApprovedError
from consent.service.principals import brand_keys
from consent.service.tasks import approved_brands, approved_task
from consent.service.work import Caller, Unit
from consent.store.rounds import RunSetupRow
from consent.store.schema import RoundRow
from privacy.errors import SecureSumError
from privacy.secure_sum import Scheme


def record(unit: Unit, caller: Caller, signed: Signed[RunSetup]) -> None:
    """Record a run's setup; the same again changes nothing.

    Raises:
        SignatureError: the coordinator's signature, or ours on the enrolment, does not fit.
        ConflictError: the run has another setup, or rounds from before it.
        RoundRefusedError: the task, a brand or the numbers do not allow it.
    """
    setup = signed.verify(caller.public_key or "")
    unit.lock()
    row = unit.session.get(RunSetupRow, setup.run_id)
    if row is not None:
        if (row.digest, row.coordinator) != (setup.digest(), caller.name):
            raise ConflictError("The run has another setup; take a new run id.")
        return
    if unit.session.scalar(select(RoundRow.digest).where(RoundRow.run_id == setup.run_id).limit(1)):
        raise ConflictError("The run has rounds from before its setup; take a new run id.")
    _check_task(setup, approved_task(unit.session, setup.task, setup.purpose))
    _check_brands(unit, setup)
    _check_scheme(setup)
    index = unit.log("run_set_up", {"setup": setup.model_dump(mode="json"), "digest": setup.digest()})
    unit.session.add(
        RunSetupRow(
            run_id=setup.run_id,
            digest=setup.digest(),
            task=setup.task,
            coordinator=caller.name,
            body=signed.model_dump_json().encode(),
            log_index=index,
        )
    )
    unit.session.flush()


def _check_task(setup: RunSetup, task: TaskSpec) -> None:
    if task.privacy.trust_mode != "distributed":
        raise RoundRefusedError("The task is of trust mode `local`, whose runs have no setup.")
    if (setup.dropouts, setup.colluders) != (task.privacy.dropouts, task.privacy.colluders):
        raise RoundRefusedError("The setup's dropouts and colluders are not those of its task.")


def _check_brands(unit: Unit, setup: RunSetup) -> None:
    enrolment = setup.enrolment.verify(unit.keys.snapshots.public_key)
    if min(setup.not_after, enrolment.not_after) <= unit.now:
        raise RoundRefusedError("The setup's time, or its enrolment's, is over; ask for a new enrolment.")
    names = [line.brand for line in setup.brands]
    if names != sorted(set(names)):
        raise RoundRefusedError("The setup's brands are not distinct and in the order of their names.")
    stated, held = enrolment.keys(), brand_keys(unit.session, tuple(names))
    if any(not stated.get(line.brand) == held.get(line.brand) == line.key for line in setup.brands):
        raise ParticipantNotEnrolledError("A brand's key is not the one that is enrolled and stated for it.")
    if set(names) - approved_brands(unit.session, setup.task):
        raise TaskNotApprovedError(
            "The task is not approved for a brand of the setup; have an officer approve it."
        )


def _check_scheme(setup: RunSetup) -> None:
    try:
        scheme_of(setup)
    except SecureSumError as error:
        raise RoundRefusedError(str(error)) from error


def scheme_of(setup: RunSetup) -> Scheme:
    """Return the numbers of a run's secure sum.

    Raises:
        SecureSumError: they do not hold together.
    """
    return Scheme(
        run=bytes.fromhex(setup.digest()),
        brands=tuple(line.brand for line in setup.brands),
        colluding=setup.colluders,
        dropouts=setup.dropouts,
        slots=setup.slots,
    )


def setup_of(session: Session, run_id: str) -> RunSetup:
    """Return what a run agreed on.

    Raises:
        RoundRefusedError: it has no setup.
    """
    row = session.get(RunSetupRow, run_id)
    if row is None:
        raise RoundRefusedError("The run has no setup; have it logged before its first round.")
    return Signed[RunSetup].model_validate_json(row.body).body


def check_round(unit: Unit, caller: Caller, manifest: RoundManifest, task: TaskSpec) -> None:
    """Refuse a round that is not masked as its task and its run's setup say.

    Raises:
        ConflictError: the run was set up for another task or coordinator.
        RoundRefusedError: it is masked where it should not be, or not as the run agreed.
    """
    mode = task.privacy.trust_mode
    masked = manifest.secure_sum is not None
    noise = "discrete_gaussian" if mode == "distributed" else "grid_gaussian"
    if masked != (mode == "distributed") or manifest.mechanism.name != noise:
        raise RoundRefusedError(f"The round's noise or its secure sum is not that of a task of mode `{mode}`.")
    row = unit.session.get(RunSetupRow, manifest.run_id)
    if row is not None and (row.task, row.coordinator) != (manifest.task, caller.name):
        raise ConflictError("The run belongs to another task or coordinator; take a new run id.")
    if masked:
        _check_masked(unit, manifest, setup_of(unit.session, manifest.run_id))


def _check_masked(unit: Unit, manifest: RoundManifest, setup: RunSetup) -> None:
    place = manifest.secure_sum
    if place is None or place.setup != setup.digest():
        raise RoundRefusedError("The round is of another setup than its run.")
    if setup.not_after <= unit.now:
        raise RoundRefusedError("The run's time is over; set up a new run.")
    taken = select(RoundRow.digest).where(RoundRow.run_id == manifest.run_id, RoundRow.slot == place.slot)
    if place.slot >= setup.slots or unit.session.scalar(taken) is not None:
        raise RoundRefusedError(
            "The round's slot is used already, or the run has no such slot; take the next one."
        )
    keys = {line.brand: line.key for line in setup.brands}
    if any(keys.get(line.brand) != line.key for line in manifest.participants):
        raise ParticipantNotEnrolledError("A participant is not in the run's setup under its key.")
    if len(manifest.participants) < len(keys) - setup.dropouts:
        raise RoundRefusedError("The round asks fewer brands than all but the stated dropouts.")
