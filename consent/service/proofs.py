"""Proofs out of the published log, each from one checkpoint and its tiles."""

import base64
from pathlib import Path

from consent.errors import NotFoundError
from consent.log.proof import TileTree, from_one_view, prove_entry
from consent.log.remote import LiveFolder
from consent.wire import ConsistencyView


def entry_proof(folder: Path, index: int) -> str:
    """Return the `.tlog-proof` of an entry under the head that is published now.

    Raises:
        NotFoundError: the published log has no such entry.
        TileMissingError: the published log is not whole.
    """
    return prove_entry(LiveFolder(folder), index).encode()


def consistency(folder: Path, old_size: int, new_size: int) -> ConsistencyView:
    """Return the proof that a log of `new_size` entries extends the one of `old_size`.

    Raises:
        NotFoundError: the published log is shorter, or the sizes are not in order.
        TileMissingError: the published log is not whole.
    """

    def prove(note: str, published: TileTree) -> ConsistencyView:
        if not 0 <= old_size <= new_size <= published.size:
            raise NotFoundError(
                f"The published log has {published.size} entries; ask for sizes up to that, in order."
            )
        path = published.at(new_size).consistency(old_size)
        hashes = tuple(base64.b64encode(node).decode() for node in path)
        return ConsistencyView(old_size=old_size, new_size=new_size, hashes=hashes, checkpoint=note)

    return from_one_view(LiveFolder(folder), prove)
