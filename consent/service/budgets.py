"""What rounds cost: every spend of (brand, purpose) composed, reserved ones included."""

from collections import defaultdict
from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.orm import Session

from consent.errors import BudgetRefusedError
from consent.store.schema import CeilingRow, SpendRow
from consent.wire import Budget
from privacy.accounting import check_within, composed_multiplier, epsilon
from privacy.errors import BudgetExceededError


def spends(session: Session, purpose: str, brands: Collection[str]) -> dict[str, list[SpendRow]]:
    """Return every spend of these brands on a purpose, in the order of the log."""
    query = (
        select(SpendRow)
        .where(SpendRow.purpose == purpose, SpendRow.brand.in_(brands))
        .order_by(SpendRow.log_index)
    )
    found: dict[str, list[SpendRow]] = defaultdict(list)
    for row in session.scalars(query):
        found[row.brand].append(row)
    return found


def ceilings(session: Session, purpose: str, brands: Collection[str]) -> dict[str, CeilingRow]:
    """Return the approved ceiling of each brand that has one."""
    query = select(CeilingRow).where(CeilingRow.purpose == purpose, CeilingRow.brand.in_(brands))
    return {row.brand: row for row in session.scalars(query)}


def require_within(spent: float, ceiling: float, *, population: str) -> None:
    """Refuse what goes over a ceiling.

    Raises:
        BudgetRefusedError: it does.
    """
    try:
        check_within(spent, ceiling, population=population)
    except BudgetExceededError as error:
        raise BudgetRefusedError(str(error)) from error


def of_brand(session: Session, brand: str) -> tuple[Budget, ...]:
    """Return a brand's budgets, one per purpose with an approved ceiling."""
    rows = session.scalars(select(CeilingRow).where(CeilingRow.brand == brand).order_by(CeilingRow.purpose))
    return tuple(_budget(ceiling, spends(session, ceiling.purpose, [brand])[brand]) for ceiling in rows.all())


def _budget(ceiling: CeilingRow, rows: list[SpendRow]) -> Budget:
    everything = [row.noise_multiplier for row in rows]
    spent = epsilon((row.noise_multiplier for row in rows if row.committed), ceiling.delta)
    return Budget(
        brand=ceiling.brand,
        purpose=ceiling.purpose,
        delta=ceiling.delta,
        ceiling=ceiling.epsilon,
        spent=spent,
        reserved=epsilon(everything, ceiling.delta) - spent,
        noise_multiplier=composed_multiplier(everything) if everything else None,
    )
