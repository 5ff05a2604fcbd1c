"""Where the trees of cohorts that were sealed last are kept between requests."""

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from threading import Lock

from consent.service.member_tree import MemberTree

MOST_TREES = 16
MOST_MEMBERS = 8_000_000
"""Members of all trees together, at about 40 bytes each."""


@dataclass(frozen=True, eq=False)
class KeptTree:
    """The tree of one cohort, with what tells whether it is still of use."""

    tree: MemberTree
    until: datetime
    """Nobody is in the tree whose grant ends by itself up to then."""
    size: int
    """Entries of the log that it takes into account."""
    last_entry: bytes
    """The last of them: a transaction that was taken back leaves another one in its place."""


class KeptTrees:
    """Trees by brand and purpose, those used last.

    Args:
        most: how many.
        most_members: of how many members together.
    """

    def __init__(self, most: int = MOST_TREES, most_members: int = MOST_MEMBERS) -> None:
        self._most, self._most_members = most, most_members
        self._kept: OrderedDict[tuple[str, str], KeptTree] = OrderedDict()
        self._lock = Lock()

    def get(self, brand: str, purpose: str) -> KeptTree | None:
        """Return the tree that is kept of a cohort."""
        with self._lock:
            return self._kept.get((brand, purpose))

    def put(self, brand: str, purpose: str, new: KeptTree) -> None:
        """Keep a tree, unless a later one of the cohort is kept; those used longest ago make room."""
        key = (brand, purpose)
        with self._lock:
            known = self._kept.get(key)
            if known is None or known.size <= new.size:
                self._kept[key] = new
            self._kept.move_to_end(key)
            while len(self._kept) > self._most or self._members() > self._most_members:
                self._kept.popitem(last=False)

    def _members(self) -> int:
        return sum(kept.tree.members for kept in self._kept.values())
