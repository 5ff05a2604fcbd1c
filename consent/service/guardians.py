"""Recording who answers for a customer, and until when; no date of birth is kept."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from consent.contract import Act, Choice
from consent.errors import InvalidRequestError, NotFoundError
from consent.log.payloads import Subject
from consent.service import choices
from consent.service.work import Caller, Unit
from consent.store.bulk import upsert_all
from consent.store.customers import GuardianRow
from consent.store.schema import StateRow
from consent.wire import GuardianRecord


def appoint(unit: Unit, caller: Caller, wanted: GuardianRecord) -> None:
    """Record a customer's guardian; what the customer granted before is withdrawn, for it was not theirs to give.

    Raises:
        NotFoundError: the customer is another brand's.
        InvalidRequestError: the guardianship has already ended, or the customer is their own guardian.
    """
    if wanted.brand != caller.name:
        raise NotFoundError("This is not a customer of this brand.")
    if wanted.until <= unit.now or wanted.guardian == wanted.subject:
        raise InvalidRequestError("A guardian is somebody else than the customer, until a moment that is to come.")
    unit.lock()
    now = {"guardian": wanted.guardian, "until": wanted.until}
    index = unit.log(
        "guardian_recorded",
        wanted.model_dump(mode="json"),
        subject=Subject(wanted.brand, wanted.subject),
    )
    upsert_all(
        unit.session,
        GuardianRow,
        [{"brand": wanted.brand, "subject": wanted.subject, **now, "log_index": index}],
    )
    withdrawn = _withdrawals(unit.session, wanted)
    if withdrawn:
        choices.keep(unit, wanted.brand, withdrawn)


def _withdrawals(session: Session, wanted: GuardianRecord) -> Sequence[Choice]:
    granted = session.execute(
        select(StateRow.kind, StateRow.scope)
        .where(
            StateRow.brand == wanted.brand,
            StateRow.subject == wanted.subject,
            StateRow.act == Act.GRANT.value,
        )
        .order_by(StateRow.kind, StateRow.scope)
    )
    return [
        Choice.model_validate(
            {
                "brand": wanted.brand,
                "subject": wanted.subject,
                "act": Act.WITHDRAW,
                kind: scope,
                "method": "support",
            }
        )
        for kind, scope in granted
    ]
