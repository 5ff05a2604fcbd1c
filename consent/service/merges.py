"""Pseudonyms that turned out to be one customer, and that can turn out not to be."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from uuid import uuid4

from consent.errors import InvalidRequestError, NotFoundError
from consent.log.payloads import Subject
from consent.service.cohorts import changed_for_all_purposes
from consent.service.work import Caller, Unit
from consent.store.bulk import upsert_all
from consent.store.customers import MergeRow
from consent.store.driver import Driver, Transaction, places
from consent.wire import Merge

Edge = tuple[str, str]
LOOKUP_CHUNK = 1_000
READ_MERGES = "SELECT one, other FROM merges WHERE brand = %s AND active"


def merge(unit: Unit, caller: Caller, wanted: Merge) -> None:
    """Make two pseudonyms one customer, for whom the strictest of both counts; doing it again changes nothing.

    Raises:
        NotFoundError: they are another brand's.
        InvalidRequestError: they are one pseudonym.
    """
    _set(unit, caller, wanted, active=True)


def unmerge(unit: Unit, caller: Caller, wanted: Merge) -> None:
    """Undo a merge, so that each pseudonym counts for itself again; raises as `merge` does.

    Raises:
        NotFoundError: these two were not merged.
    """
    _set(unit, caller, wanted, active=False)


def _set(unit: Unit, caller: Caller, wanted: Merge, *, active: bool) -> None:
    if wanted.brand != caller.name:
        raise NotFoundError("These are not customers of this brand.")
    if wanted.subject == wanted.other:
        raise InvalidRequestError("A merge is of two different pseudonyms.")
    unit.lock()
    one, other = sorted((wanted.subject, wanted.other))
    row = unit.session.get(MergeRow, (caller.name, one, other))
    if row is None and not active:
        raise NotFoundError("These two pseudonyms were not merged.")
    if row is not None and row.active == active:
        return
    name = uuid4().hex
    entries = unit.log_all(
        "subjects_merged" if active else "subjects_unmerged",
        [{"brand": caller.name, "subject": subject, "merge": name} for subject in (one, other)],
        subjects=[Subject(caller.name, subject) for subject in (one, other)],
    )
    upsert_all(
        unit.session,
        MergeRow,
        [{"brand": caller.name, "one": one, "other": other, "active": active, "log_index": entries[0]}],
    )
    changed_for_all_purposes(unit.session, caller.name, {one, other}, entries[-1])


def groups_of(
    session: Transaction, brand: str, subjects: Collection[str] | None = None
) -> dict[str, tuple[str, ...]]:
    """Return, for each pseudonym that is merged with others, all of that customer's, itself included.

    Args:
        session: any session.
        brand: whose customers.
        subjects: whose groups are wanted; None for all.
    """
    driver = Driver(session)
    if subjects is None:
        return connected(driver.execute(READ_MERGES, (brand,)).fetchall())
    edges: set[Edge] = set()
    seen: set[str] = set()
    frontier = set(subjects)
    while frontier:
        seen |= frontier
        found: set[Edge] = set()
        wanted = sorted(frontier)
        for start in range(0, len(wanted), LOOKUP_CHUNK):
            chunk = wanted[start : start + LOOKUP_CHUNK]
            listed = places(len(chunk))
            statement = f"{READ_MERGES} AND (one IN ({listed}) OR other IN ({listed}))"
            found.update(driver.execute(statement, (brand, *chunk, *chunk)).fetchall())
        edges |= found
        frontier = {end for edge in found for end in edge} - seen
    return connected(edges)


def connected(edges: Iterable[Edge]) -> dict[str, tuple[str, ...]]:
    """Return the connected component of every end of an edge."""
    neighbours: dict[str, set[str]] = defaultdict(set)
    for one, other in edges:
        neighbours[one].add(other)
        neighbours[other].add(one)
    groups: dict[str, tuple[str, ...]] = {}
    for start in neighbours:
        if start not in groups:
            group, pending = {start}, [start]
            while pending:
                fresh = neighbours[pending.pop()] - group
                group |= fresh
                pending += fresh
            groups.update(dict.fromkeys(group, tuple(sorted(group))))
    return groups
