"""Who answers for what a brand does: recorded and logged, for receipts and statements to name."""

from sqlalchemy.orm import Session

from consent.errors import ConflictError
from consent.rights import ControllerFacts
from consent.service.work import Caller, Unit
from consent.store.brands import ControllerRow
from consent.store.bulk import upsert_all


def record(unit: Unit, caller: Caller, brand: str, facts: ControllerFacts) -> None:
    """Record who answers for a brand from now on; the same again changes nothing."""
    unit.lock()
    if controller_of(unit.session, brand) == facts:
        return
    said = {"brand": brand, "controller": facts.model_dump(mode="json"), "by": caller.role.value}
    index = unit.log("controller_recorded", said)
    row = {"brand": brand, "body": facts.canonical_bytes(), "log_index": index}
    upsert_all(unit.session, ControllerRow, [row])


def controller_of(session: Session, brand: str) -> ControllerFacts | None:
    """Return who answers for a brand, if that was recorded."""
    row = session.get(ControllerRow, brand)
    return None if row is None else ControllerFacts.model_validate_json(row.body)


def require_controller(session: Session, brand: str) -> ControllerFacts:
    """Return who answers for a brand.

    Raises:
        ConflictError: that was never recorded.
    """
    facts = controller_of(session, brand)
    if facts is None:
        raise ConflictError("Nobody is on record as this brand's controller; put its name and address first.")
    return facts
