"""The ledger: one line per (run, round, brand), reserved before brands are asked and committed with the release.

A line counts from its reservation on, whatever the round asks for: marginals, gradients, metrics, histograms or
feature bins. It stops counting only where its brand says that nothing left it for the round and nothing will, and
the time of every attempt that asked the brand is over; a later attempt then reserves anew. What was committed
counts for good. Every change is one entry of the log, made by who calls this, in one transaction with it.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.orm import Session

from consent.contract import RoundManifest, TaskSpec
from consent.errors import RoundRefusedError
from consent.service.work import Unit
from consent.store.schema import SpendRow
from privacy.accounting import reach


class State(StrEnum):
    """How far a line is."""

    RESERVED = "reserved"
    COMMITTED = "committed"
    EXPIRED = "expired"


def counted(session: Session, purpose: str, brands: Collection[str]) -> dict[str, list[SpendRow]]:
    """Return the lines of these brands that count on a purpose, in the order of the log."""
    query = (
        select(SpendRow)
        .where(SpendRow.purpose == purpose, SpendRow.brand.in_(brands), SpendRow.state != State.EXPIRED.value)
        .order_by(SpendRow.log_index)
    )
    found: dict[str, list[SpendRow]] = defaultdict(list)
    for row in session.scalars(query):
        found[row.brand].append(row)
    return found


def multipliers(rows: Iterable[SpendRow], brands: int = 1) -> list[float]:
    """Return the noise multipliers of lines for a customer at so many brands."""
    return [row.noise_multiplier / reach(brands, summed=row.shared) for row in rows]


def most_brands(rows: Iterable[SpendRow]) -> int:
    """Return at how many brands the tasks of these lines say that one customer may be."""
    return max((row.brands_per_customer for row in rows), default=1)


def last_that_counts(rows: Sequence[SpendRow]) -> str:
    """Name the line that was reserved last, for who is refused because of it."""
    if not rows:
        return "Nothing was reserved before it."
    return f"The last of {len(rows)} lines that count is entry {rows[-1].log_index} of the log."


def reserve(unit: Unit, manifest: RoundManifest, task: TaskSpec, index: int) -> None:
    """Reserve once per (run, round, brand): a later attempt asks for the very same release."""
    for line in manifest.participants:
        row = unit.session.get(SpendRow, (manifest.run_id, manifest.round, line.brand))
        if row is None:
            unit.session.add(_line(manifest, task, line.brand, index))
        elif row.state == State.EXPIRED.value:
            row.state, row.log_index, row.settled_index = State.RESERVED.value, index, None
    unit.session.flush()


def _line(manifest: RoundManifest, task: TaskSpec, brand: str, index: int) -> SpendRow:
    return SpendRow(
        run_id=manifest.run_id,
        round=manifest.round,
        brand=brand,
        purpose=manifest.purpose,
        kind=manifest.phase.value,
        noise_multiplier=manifest.mechanism.noise_multiplier,
        shared=manifest.secure_sum is not None,
        brands_per_customer=task.privacy.max_brands_per_customer,
        delta=task.privacy.delta,
        state=State.RESERVED.value,
        log_index=index,
    )


def to_commit(session: Session, run_id: str, number: int, brands: Collection[str]) -> list[SpendRow]:
    """Return the lines that a release commits.

    Raises:
        RoundRefusedError: a brand gave its reservation back, so its sum can not be in the release.
    """
    query = select(SpendRow).where(SpendRow.run_id == run_id, SpendRow.round == number, SpendRow.brand.in_(brands))
    rows = list(session.scalars(query.order_by(SpendRow.brand)))
    for row in rows:
        if row.state == State.EXPIRED.value:
            raise RoundRefusedError(
                f"{row.brand} gave its reservation back (entry {row.settled_index} of the log); "
                f"open a new attempt."
            )
    return rows


def settle(rows: Iterable[SpendRow], state: State, index: int) -> None:
    """Commit or expire lines, as an entry of the log tells."""
    for row in rows:
        row.state, row.settled_index = state.value, index
