"""The tree over a cohort: from the one that was kept, at the cost of what changed since, or built anew.

A kept tree is never believed over the database. It is used from a position of the log whose entry is still the
one that it was worked out at, is brought up to date by the one rule of `consent.service.holding`, and is given up
where something else than choices and time changed who is in.
"""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from consent.contract.membership import path_key
from consent.log.store import read_head
from consent.service.holding import PURPOSE, holdings, members
from consent.service.kept_trees import KeptTree
from consent.service.member_tree import MemberTree
from consent.service.work import Unit
from consent.store.schema import ChoiceRow, CohortRow, LogEntry, StateRow

MOST_CHANGES = 100_000
"""Entries of the log since, above which building anew is about as fast."""


def cohort_tree(unit: Unit, brand: str, purpose: str, until: datetime) -> MemberTree:
    """Return the tree over who is in as this unit sees it, and stays in until a moment at least."""
    session, kept = unit.session, unit.trees.get(brand, purpose)
    size = read_head(session).size
    tree = None
    if kept is not None and _usable(session, kept, brand, purpose, until=until, size=size):
        tree = _brought_up(session, kept, brand, purpose, until)
    if tree is None or tree.crowded:
        tree = MemberTree.build(sorted(map(path_key, members(session, brand, purpose, until))))
    unit.trees.put(brand, purpose, KeptTree(tree, until, size, _entry(session, size - 1)))
    return tree


def _usable(session: Session, kept: KeptTree, brand: str, purpose: str, *, until: datetime, size: int) -> bool:
    if kept.size > size or size - kept.size > MOST_CHANGES or kept.until > until:
        return False
    cohort = session.execute(
        select(CohortRow.rebuilt_index).where(CohortRow.brand == brand, CohortRow.purpose == purpose)
    ).scalar()
    rebuilt = cohort is not None and cohort >= kept.size
    return not rebuilt and _entry(session, kept.size - 1) == kept.last_entry


def _entry(session: Session, index: int) -> bytes:
    return session.scalars(select(LogEntry.entry).where(LogEntry.log_index == index)).one()


def _brought_up(session: Session, kept: KeptTree, brand: str, purpose: str, until: datetime) -> MemberTree:
    touched = {*_changed(session, kept.size, brand, purpose), *_ended(session, kept.until, until, brand, purpose)}
    if not touched:
        return kept.tree
    held = holdings(session, until, brand, touched)
    everyone = touched.union(*held.groups.values())
    inside = {one for one in everyone if held.holds(one, purpose)}
    return kept.tree.changed(come=map(path_key, inside), go=map(path_key, everyone - inside))


def _changed(session: Session, size: int, brand: str, purpose: str) -> Iterable[str]:
    """Return who chose since; the concatenation keeps SQLite from going through all of the brand's choices."""
    return session.scalars(
        select(ChoiceRow.subject)
        .where(
            ChoiceRow.log_index >= size,
            ChoiceRow.brand.concat("") == brand,
            ChoiceRow.kind == PURPOSE,
            ChoiceRow.scope == purpose,
        )
        .distinct()
    )


def _ended(session: Session, since: datetime, until: datetime, brand: str, purpose: str) -> Iterable[str]:
    """Return whose grant ends by itself after one moment and up to another."""
    if since == until:
        return ()
    return session.scalars(
        select(StateRow.subject).where(
            StateRow.brand == brand,
            StateRow.kind == PURPOSE,
            StateRow.scope == purpose,
            StateRow.expires_at > since,
            StateRow.expires_at <= until,
        )
    )
