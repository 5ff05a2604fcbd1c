"""What rounds cost: every line of (brand, purpose) that counts composed, against what an officer approved."""

from collections.abc import Collection, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from consent.contract import RoundManifest, TaskSpec
from consent.errors import BudgetRefusedError
from consent.service.ledger import State, counted, last_that_counts, most_brands, multipliers
from consent.store.schema import CeilingRow, SpendRow
from consent.wire import Budget
from privacy.accounting import check_within, composed_multiplier, epsilon, reach
from privacy.errors import BudgetExceededError


def ceilings(session: Session, purpose: str, brands: Collection[str]) -> dict[str, CeilingRow]:
    """Return the approved ceiling of each brand that has one."""
    query = select(CeilingRow).where(CeilingRow.purpose == purpose, CeilingRow.brand.in_(brands))
    return {row.brand: row for row in session.scalars(query)}


def require_round(session: Session, manifest: RoundManifest, task: TaskSpec) -> dict[str, float]:
    """Refuse a round that goes over a brand's ceiling, or over what the round claims; return epsilon by brand.

    Earlier attempts of the round do not count beside it. A ceiling holds for customers at as many brands as the
    task says, the claim for those at one.

    Raises:
        BudgetRefusedError: it does; the sentence names the line of the ledger that was reserved last.
    """
    brands = [line.brand for line in manifest.participants]
    earlier = counted(session, manifest.purpose, brands)
    approved = ceilings(session, manifest.purpose, brands)
    costs = {}
    for brand in brands:
        rows = [row for row in earlier[brand] if (row.run_id, row.round) != (manifest.run_id, manifest.round)]
        population = f"{brand}'s customers for {manifest.purpose}"
        ceiling = approved[brand]
        most = max(task.privacy.max_brands_per_customer, most_brands(rows))
        spent = epsilon(_with(rows, manifest, most), ceiling.delta)
        _require_within(spent, ceiling.epsilon, population, rows)
        costs[brand] = epsilon(_with(rows, manifest, 1), task.privacy.delta)
        _require_within(costs[brand], manifest.epsilon_after, f"{population}, as the round claims", rows)
    return costs


def _with(rows: Sequence[SpendRow], manifest: RoundManifest, brands: int) -> list[float]:
    own = manifest.mechanism.noise_multiplier / reach(brands, summed=manifest.secure_sum is not None)
    return [*multipliers(rows, brands), own]


def _require_within(spent: float, ceiling: float, population: str, rows: Sequence[SpendRow]) -> None:
    try:
        check_within(spent, ceiling, population=population)
    except BudgetExceededError as error:
        raise BudgetRefusedError(f"{error} {last_that_counts(rows)}") from error


def of_brand(session: Session, brand: str) -> tuple[Budget, ...]:
    """Return a brand's budgets, one per purpose with an approved ceiling."""
    rows = session.scalars(select(CeilingRow).where(CeilingRow.brand == brand).order_by(CeilingRow.purpose))
    return tuple(_budget(ceiling, counted(session, ceiling.purpose, [brand])[brand]) for ceiling in rows.all())


def _budget(ceiling: CeilingRow, rows: list[SpendRow]) -> Budget:
    everything = multipliers(rows)
    committed = [row for row in rows if row.state == State.COMMITTED.value]
    spent = epsilon(multipliers(committed), ceiling.delta)
    return Budget(
        brand=ceiling.brand,
        purpose=ceiling.purpose,
        delta=ceiling.delta,
        ceiling=ceiling.epsilon,
        spent=spent,
        reserved=epsilon(everything, ceiling.delta) - spent,
        noise_multiplier=composed_multiplier(everything) if everything else None,
        by_brands=tuple(
            epsilon(multipliers(rows, brands), ceiling.delta) for brands in range(1, most_brands(rows) + 1)
        ),
        last_line=rows[-1].log_index if rows else None,
    )
