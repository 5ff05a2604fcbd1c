"""Noting that the customers who may be used for a purpose changed: snapshots from before are stale."""

from collections.abc import Iterable

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from consent.contract import Act
from consent.store.bulk import upsert_all
from consent.store.schema import CohortRow, StateRow


def changed(session: Session, brand: str, purposes: Iterable[str], log_index: int) -> None:
    """Note it of purposes whose choices say who came and who went."""
    rows = [{"brand": brand, "purpose": purpose, "changed_index": log_index} for purpose in sorted(purposes)]
    upsert_all(session, CohortRow, rows)


def rebuilt(session: Session, brand: str, purposes: Iterable[str], log_index: int) -> None:
    """Note it of purposes where something else than choices changed who is in."""
    rows = [
        {"brand": brand, "purpose": purpose, "changed_index": log_index, "rebuilt_index": log_index}
        for purpose in sorted(purposes)
    ]
    upsert_all(session, CohortRow, rows)


def changed_for_all_purposes(session: Session, brand: str, subjects: Iterable[str], log_index: int) -> None:
    """Note it of every purpose that one of these customers granted."""
    query = select(StateRow.scope).where(
        StateRow.brand == brand,
        StateRow.subject.in_(sorted(subjects)),
        StateRow.kind == "purpose",
        StateRow.act == Act.GRANT.value,
    )
    rebuilt(session, brand, set(session.scalars(query)), log_index)


def changed_for_all_brands(session: Session, purpose: str, log_index: int) -> None:
    """Note it of every brand that somebody granted this purpose to."""
    session.execute(
        update(CohortRow)
        .where(CohortRow.purpose == purpose)
        .values(changed_index=log_index, rebuilt_index=log_index),
        execution_options={"synchronize_session": False},
    )
