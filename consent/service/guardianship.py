"""Whose word counts for a customer that can not consent alone."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from consent.store.driver import Driver, places

LOOKUP_CHUNK = 1_000
READ_GUARDIANS = "SELECT subject, guardian, until FROM guardians WHERE brand = %s AND subject IN"


@dataclass(frozen=True)
class Guardianship:
    """Whose word counts for a customer until a moment."""

    guardian: str
    until: datetime


def guardianships(session: Session, brand: str, subjects: Iterable[str]) -> dict[str, Guardianship]:
    """Return the guardianship of each of these customers that has or had one."""
    wanted = sorted(set(subjects))
    found: dict[str, Guardianship] = {}
    driver = Driver(session)
    for start in range(0, len(wanted), LOOKUP_CHUNK):
        chunk = wanted[start : start + LOOKUP_CHUNK]
        rows = driver.execute(f"{READ_GUARDIANS} ({places(len(chunk))})", (brand, *chunk))
        for subject, guardian, until in rows.fetchall():
            found[subject] = Guardianship(guardian, driver.moment(until))
    return found
