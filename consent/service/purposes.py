"""What customers can be asked for: purposes, declared before anything rests on them."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from consent.contract import Purpose
from consent.errors import ConflictError, UnknownPurposeError
from consent.service.work import Unit
from consent.store.driver import Driver
from consent.store.schema import PurposeRow


def declare(unit: Unit, purpose: Purpose) -> None:
    """Declare a purpose; declaring the same again changes nothing.

    Raises:
        ConflictError: the purpose is declared with another meaning.
    """
    row = unit.session.get(PurposeRow, purpose.purpose)
    if row is not None:
        if Purpose.model_validate_json(row.body) != purpose:
            raise ConflictError("This purpose is declared with another meaning; give the new one a new name.")
        return
    index = unit.log("purpose_declared", {"purpose": purpose.model_dump(mode="json")})
    unit.session.add(PurposeRow(purpose=purpose.purpose, body=purpose.canonical_bytes(), log_index=index))
    unit.session.flush()


def declared(session: Session) -> tuple[Purpose, ...]:
    """Return all purposes, by name."""
    rows = Driver(session).execute("SELECT body FROM purposes ORDER BY purpose").fetchall()
    return tuple(Purpose.model_validate_json(body) for (body,) in rows)


def require_purposes(unit: Unit, names: set[str]) -> tuple[Purpose, ...]:
    """Return purposes by name, and refuse those that were never declared.

    Raises:
        UnknownPurposeError: at least one was not.
    """
    query = select(PurposeRow.body).where(PurposeRow.purpose.in_(names)).order_by(PurposeRow.purpose)
    found = tuple(Purpose.model_validate_json(body) for body in unit.session.scalars(query))
    if len(found) < len(names):
        raise UnknownPurposeError("A purpose is not declared; have the operator declare it first.")
    return found
