"""Writing the tiles of a growing log: full ones as they fill up, partial ones once its new size is known.

What is published stays where it is: a tile of a larger size has another name, and a partial one goes only when
the full one is under a signed head (C2SP tlog-tiles, "Partial Tiles").
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

from consent.errors import LogError, LogInconsistentError
from consent.files import write_atomically
from consent.log.merkle import Frontier, leaf_hash, root_hash
from consent.log.note import Checkpoint
from consent.log.tiles import (
    ENTRIES,
    TILE_BITS,
    TILE_WIDTH,
    completed,
    decode_bundle,
    decode_tile,
    encode_bundle,
    parse_tile_path,
    tile_path,
    width_at,
)


class TileWriter:
    """The right edge of a tree, from which its next tiles are written.

    Args:
        folder: what is written into.
        size: entries in the tree.
        bundle: those of them that do not fill a bundle.
        levels: per level, the hashes that do not fill a tile.
    """

    def __init__(
        self,
        folder: Path,
        size: int = 0,
        bundle: Sequence[bytes] = (),
        levels: Sequence[Sequence[bytes]] = (),
    ) -> None:
        self.frontier = _frontier(size, levels)
        self._folder = folder
        self._bundle = list(bundle)
        self._levels = [list(level) for level in levels]
        self._written: set[Path] = set()

    @classmethod
    def resume(cls, folder: Path, checkpoint: Checkpoint) -> Self:
        """Read the edge from the partial tiles; their root must be the checkpoint's.

        Raises:
            LogInconsistentError: one is missing or damaged, or they lead to another root.
        """
        try:
            bundle = decode_bundle(_read_partial(folder, ENTRIES, checkpoint.size))
            levels = []
            level, count = 0, checkpoint.size
            while count:
                levels.append(decode_tile(_read_partial(folder, level, count)))
                level, count = level + 1, count // TILE_WIDTH
        except (OSError, LogError) as error:
            raise LogInconsistentError(
                f"The published log in {folder} is damaged; run `confide audit verify` on it."
            ) from error
        edge = cls(folder, checkpoint.size, bundle, levels)
        leaves = [leaf_hash(entry) for entry in bundle]
        if edge.frontier.root() != checkpoint.root or leaves != (levels[0] if levels else []):
            raise LogInconsistentError(
                f"The published tiles in {folder} do not lead to their checkpoint; "
                f"run `confide audit verify` on it."
            )
        return edge

    def append(self, entries: Sequence[bytes]) -> None:
        """Add entries to the tree and write the tiles and bundles that they fill."""
        before = self.frontier.size
        fresh = [leaf_hash(entry) for entry in entries]
        for leaf in fresh:
            self.frontier.append(leaf)
        bundles, self._bundle = _full(self._bundle + list(entries))
        for index, bundle in enumerate(bundles, before // TILE_WIDTH):
            self._write(ENTRIES, index, bundle)
        level = 0
        while fresh:
            if level == len(self._levels):
                self._levels.append([])
            tiles, self._levels[level] = _full(self._levels[level] + fresh)
            before //= TILE_WIDTH
            for index, tile in enumerate(tiles, before):
                self._write(level, index, tile)
            fresh = [root_hash(tile) for tile in tiles]
            level += 1

    def finish(self, before: int) -> set[Path]:
        """Write the partial tiles that are not those of a tree of `before` entries.

        Returns:
            The folders in which names are new since the writer was made or last finished.
        """
        size = self.frontier.size
        for level, hashes in enumerate(self._levels):
            if hashes and size >> (TILE_BITS * level) != before >> (TILE_BITS * level):
                self._write(level, size >> (TILE_BITS * (level + 1)), hashes)
        if self._bundle and size != before:
            self._write(ENTRIES, size // TILE_WIDTH, self._bundle)
        written, self._written = self._written, set()
        return written

    def _write(self, level: int | str, index: int, content: Sequence[bytes]) -> None:
        raw = encode_bundle(content) if level == ENTRIES else b"".join(content)
        path = self._folder / tile_path(level, index, len(content))
        write_atomically(path, raw)
        self._written |= {path.parent, path.parent.parent}


def remove_completed(folder: Path, before: int, after: int) -> None:
    """Remove the partial versions of what was completed between two sizes that are both published."""
    for level, index in completed(before, after):
        directory = (folder / tile_path(level, index, 1)).parent
        if directory.is_dir():
            for path in directory.iterdir():
                path.unlink()
            directory.rmdir()


def tidy(folder: Path, size: int, *, published: bool) -> None:
    """Remove what a crash left: half-written files, what is ahead of `size`, partial versions of full tiles.

    Args:
        folder: the published log.
        size: entries under its checkpoint.
        published: whether there is a checkpoint; full tiles without one are left as evidence.
    """
    for path in folder.rglob(".*.new"):
        path.unlink()
    for path in list(folder.glob("tile/**/*" if published else "tile/**/*.p/*")):
        if path.is_file() and not _belongs(path.relative_to(folder).as_posix(), size):
            path.unlink()
            if path.parent.suffix == ".p" and not any(path.parent.iterdir()):
                path.parent.rmdir()


def _belongs(name: str, size: int) -> bool:
    tile = parse_tile_path(name)
    if tile is None:
        return False
    level, index, width = tile
    present = width_at(level, index, size)
    return width == present or width < present < TILE_WIDTH


def _full(pending: list[bytes]) -> tuple[list[list[bytes]], list[bytes]]:
    """Return the full tiles in a run of hashes or entries that begins with a tile, and what is left."""
    end = len(pending) - len(pending) % TILE_WIDTH
    return [pending[start : start + TILE_WIDTH] for start in range(0, end, TILE_WIDTH)], pending[end:]


def _read_partial(folder: Path, level: int | str, count: int) -> bytes:
    width = count % TILE_WIDTH
    return (folder / tile_path(level, count // TILE_WIDTH, width)).read_bytes() if width else b""


def _frontier(size: int, levels: Sequence[Sequence[bytes]]) -> Frontier:
    """Return the frontier: within each partial tile, from the highest level down, its perfect subtrees."""
    nodes: list[bytes] = []
    for level in reversed(levels):
        within = Frontier()
        for node in level:
            within.append(node)
        nodes += within.nodes
    return Frontier(size, nodes)
