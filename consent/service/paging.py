"""Pages of lists: each is read with one item more than it holds, which tells whether another follows."""

from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")


def cut(found: Sequence[Item], limit: int) -> tuple[tuple[Item, ...], Item | None]:
    """Return the page, and the item after which the next one begins; None where it is the last.

    Args:
        found: the items from where the page begins, at least one more than fit on it if there are more.
        limit: items of a page.
    """
    page = tuple(found[:limit])
    return page, page[-1] if len(found) > limit else None
