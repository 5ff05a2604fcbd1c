"""Tile paths and contents as C2SP tlog-tiles prescribes."""

from collections import Counter

import pytest

from consent.errors import LogError
from consent.log import tiles


def test_the_layout_of_seventy_thousand_leaves() -> None:
    layout = list(tiles.layout(70_000))
    full = Counter(level for level, _, width in layout if width == 256)
    partial = [(level, index, width) for level, index, width in layout if width < 256]
    assert full == {0: 273, 1: 1}
    assert partial == [(0, 273, 112), (1, 1, 17), (2, 0, 1)]


@pytest.mark.parametrize(
    ("index", "path"), [(0, "000"), (999, "999"), (1000, "x001/000"), (1234067, "x001/x234/067")]
)
def test_numbers_become_groups_of_three_digits(index: int, path: str) -> None:
    assert tiles.index_path(index) == path
    assert tiles.tile_path(0, index) == f"tile/0/{path}"
    assert tiles.tile_path("entries", index, 7) == f"tile/entries/{path}.p/7"
    assert tiles.is_tile_path(f"tile/0/{path}.p/255")


@pytest.mark.parametrize(
    "path",
    [
        "",
        "tile/0/1",
        "tile/0/x000/001",
        "tile/00/001",
        "tile/64/001",
        "tile/0/001.p/256",
        "tile/0/001.p/0",
        "tile/0/../../snapshot.key",
        "../log.key",
        "openings/000000.ndjson",
        "tile/0/001\n",
        "tile/0/001.p",
    ],
)
def test_other_paths_are_not_tiles(path: str) -> None:
    assert not tiles.is_tile_path(path)


def test_bundles_come_back() -> None:
    entries = [b"", b"a", b"b" * 65_535]
    assert tiles.decode_bundle(tiles.encode_bundle(entries)) == entries


def test_an_entry_over_the_limit_is_refused() -> None:
    with pytest.raises(LogError):
        tiles.encode_bundle([b"c" * 65_536])


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_a_bundle_that_breaks_off_is_refused(cut: int) -> None:
    with pytest.raises(LogError):
        tiles.decode_bundle(tiles.encode_bundle([b"abc"])[:-cut])
