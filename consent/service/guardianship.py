"""Whose word counts for a customer that can not consent alone."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from consent.store.customers import GuardianRow

LOOKUP_CHUNK = 1_000


@dataclass(frozen=True)
class Guardianship:
    """Whose word counts for a customer until a moment."""

    guardian: str
    until: datetime


def guardianships(session: Session, brand: str, subjects: Iterable[str]) -> dict[str, Guardianship]:
    """Return the guardianship of each of these customers that has or had one."""
    wanted = sorted(set(subjects))
    found: dict[str, Guardianship] = {}
    for start in range(0, len(wanted), LOOKUP_CHUNK):
        query = select(GuardianRow.subject, GuardianRow.guardian, GuardianRow.until).where(
            GuardianRow.brand == brand, GuardianRow.subject.in_(wanted[start : start + LOOKUP_CHUNK])
        )
        for subject, guardian, until in session.execute(query):
            found[subject] = Guardianship(guardian, until)
    return found
