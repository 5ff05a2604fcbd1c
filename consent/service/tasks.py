"""What officers approve: a task, whom it may ask, what customers may spend, what a withdrawal asks of models."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from consent.contract import RemedyPolicy, TaskSpec
from consent.errors import NotFoundError, RoundRefusedError, TaskNotApprovedError
from consent.service.principals import brand_keys
from consent.service.purposes import require_purposes
from consent.service.work import Unit
from consent.store.bulk import upsert_all
from consent.store.remedies import RemedyPolicyRow
from consent.store.schema import ApprovalRow, CeilingRow, TaskRow
from consent.wire import Approval


def approve(unit: Unit, approval: Approval) -> None:
    """Approve a task for brands; the ceiling replaces an earlier one of (brand, purpose).

    Raises:
        UnknownPurposeError: the task's purpose is not declared.
        TaskNotApprovedError: the purpose allows no tasks of this family.
        NotFoundError: a brand is not enrolled.
    """
    task = approval.task
    (purpose,) = require_purposes(unit, {task.purpose})
    if task.family not in purpose.task_families:
        raise TaskNotApprovedError("The purpose does not allow tasks of this family; declare one that does.")
    unit.lock()
    if set(approval.brands) - set(brand_keys(unit.session, approval.brands)):
        raise NotFoundError("A brand is not enrolled; have the operator enrol it first.")
    if not _already(unit.session, approval):
        _approve(unit, approval)
    if approval.remedy is not None:
        choose_remedy(unit, task.digest(), approval.remedy)


def _approve(unit: Unit, approval: Approval) -> None:
    task = approval.task
    brands = sorted(set(approval.brands))
    index = unit.log(
        "task_approved",
        {
            "task": task.model_dump(mode="json"),
            "digest": task.digest(),
            "ceiling": approval.ceiling,
            "brands": brands,
        },
    )
    if unit.session.get(TaskRow, task.digest()) is None:
        unit.session.add(
            TaskRow(digest=task.digest(), purpose=task.purpose, body=task.canonical_bytes(), log_index=index)
        )
        unit.session.flush()
    upsert_all(
        unit.session,
        ApprovalRow,
        [{"task": task.digest(), "brand": brand, "log_index": index} for brand in brands],
    )
    ceiling = {
        "purpose": task.purpose,
        "epsilon": approval.ceiling,
        "delta": task.privacy.delta,
        "log_index": index,
    }
    upsert_all(unit.session, CeilingRow, [{"brand": brand, **ceiling} for brand in brands])


def _already(session: Session, approval: Approval) -> bool:
    approved = approved_brands(session, approval.task.digest())
    ceilings = session.execute(
        select(CeilingRow.brand, CeilingRow.epsilon, CeilingRow.delta).where(
            CeilingRow.purpose == approval.task.purpose, CeilingRow.brand.in_(approval.brands)
        )
    )
    same = {
        brand
        for brand, epsilon, delta in ceilings
        if (epsilon, delta) == (approval.ceiling, approval.task.privacy.delta)
    }
    return set(approval.brands) <= approved & same


def choose_remedy(unit: Unit, task: str, policy: RemedyPolicy) -> None:
    """Choose what follows for a task's models when customers withdraw from now on; the same again changes nothing.

    Remedies that are open already keep the policy under which they were opened.

    Raises:
        NotFoundError: no such task was approved.
    """
    unit.lock()
    if unit.session.get(TaskRow, task) is None:
        raise NotFoundError("No such task was approved.")
    if remedy_of(unit.session, task) is policy:
        return
    index = unit.log("remedy_chosen", {"task": task, "policy": policy.value})
    upsert_all(unit.session, RemedyPolicyRow, [{"task": task, "policy": policy.value, "log_index": index}])


def remedy_of(session: Session, task: str) -> RemedyPolicy:
    """Return what follows for a task's models when customers withdraw."""
    chosen = session.scalar(select(RemedyPolicyRow.policy).where(RemedyPolicyRow.task == task))
    return RemedyPolicy.BOUND if chosen is None else RemedyPolicy(chosen)


def approved_task(session: Session, digest: str, purpose: str) -> TaskSpec:
    """Return an approved task.

    Raises:
        TaskNotApprovedError: it is not.
        RoundRefusedError: it was approved for another purpose.
    """
    row = session.get(TaskRow, digest)
    if row is None:
        raise TaskNotApprovedError("The round's task is not approved; have an officer approve it.")
    if row.purpose != purpose:
        raise RoundRefusedError("The round's purpose is not the one its task was approved for.")
    return TaskSpec.model_validate_json(row.body)


def approved_brands(session: Session, task: str) -> set[str]:
    """Return the brands that an approved task may ask; none when it is not approved."""
    return set(session.scalars(select(ApprovalRow.brand).where(ApprovalRow.task == task)))
