"""What is kept of requests that have a key, so that a repeat has no second effect, and for how long.

It is kept by the day: no more is needed to let it end, and nobody learns from it when a customer did something.
"""

from datetime import timedelta

from sqlalchemy import delete, select

from consent.service.work import Unit, Workplace
from consent.store.schema import IdempotencyRow

PIECE = 1_000
"""Rows that one transaction deletes, so that other writers never wait long."""


def find(unit: Unit, principal_id: int, key: str) -> IdempotencyRow | None:
    """Return what is kept of the request that a principal made under a key; the unit holds the lock."""
    return unit.session.get(IdempotencyRow, (principal_id, key))


def keep(unit: Unit, principal_id: int, key: str, *, request: str, response: bytes, first_index: int) -> None:
    """Keep a request with its effect.

    Args:
        unit: the unit of the effect.
        principal_id: whose key it is.
        key: the key, or what stands for it.
        request: a digest by which a repeat is known from another request under the same key.
        response: what a repeat is answered from.
        first_index: index of the first of the entries that the request made.
    """
    unit.session.add(
        IdempotencyRow(
            principal_id=principal_id,
            key=key,
            request=request,
            response=response,
            first_index=first_index,
            made_on=unit.now.date(),
        )
    )
    unit.session.flush()


def forget(work: Workplace, days: int) -> bool:
    """Delete a piece of what is older than so many days; tell whether there was one.

    Args:
        work: the service's parts, over all brands.
        days: for how many days a repeat is known, at least.
    """
    with work.reading() as unit:
        ended = IdempotencyRow.made_on < unit.now.date() - timedelta(days=days)
        piece = unit.session.scalars(select(IdempotencyRow.first_index).where(ended).limit(PIECE)).all()
    if piece:
        with work.writing() as unit:
            unit.session.execute(delete(IdempotencyRow).where(ended, IdempotencyRow.first_index.in_(piece)))
    return bool(piece)
