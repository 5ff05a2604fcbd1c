"""Partial tiles of earlier sizes: kept until their full tile is under a head, and held against it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from growing_log import KEY, ORIGIN, Log

from consent.log.note import verifier_key
from consent.log.remote import FolderSource, HttpSource
from consent.log.tiles import completed, parse_tile_path, width_at
from consent.log.verify import Trust, verify_folder, verify_log

TRUST = Trust(keys=(verifier_key(ORIGIN, KEY),))
STEPS = (3, 97, 150, 6, 255, 1, 300)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    log = Log(tmp_path)
    yield log
    log.database.close()


def partials(log: Log) -> list[str]:
    return sorted(name for name in log.tree() if ".p/" in name)


def served(log: Log, checkpoint: str) -> HttpSource:
    """Serve the folder as it is now to a reader who still holds an earlier head."""

    def answer(request: httpx.Request) -> httpx.Response:
        name = request.url.path.removeprefix("/")
        file = log.folder / name
        if name == "checkpoint":
            return httpx.Response(200, text=checkpoint)
        return httpx.Response(200, content=file.read_bytes()) if file.is_file() else httpx.Response(404)

    return HttpSource("http://log.example", httpx.Client(transport=httpx.MockTransport(answer)))


def test_a_partial_tile_stays_until_the_full_one_is_published(log: Log) -> None:
    for _ in range(2):
        log.grow(100)
    assert partials(log) == [
        "tile/0/000.p/100",
        "tile/0/000.p/200",
        "tile/entries/000.p/100",
        "tile/entries/000.p/200",
    ]
    log.grow(100)
    assert partials(log) == ["tile/0/001.p/44", "tile/1/000.p/1", "tile/entries/001.p/44"]


def test_a_slow_reader_of_any_earlier_head_finds_all_its_tiles(log: Log) -> None:
    heads: list[str] = []
    for step in STEPS:
        heads.append(log.grow(step))
        for head in heads:
            report = verify_log(served(log, head), trust=TRUST)
            assert report.findings == []
            assert report.size == int(head.split("\n")[1])


def test_a_partial_tile_is_there_while_the_full_one_is_not_under_a_head(tmp_path: Path) -> None:
    seen: list[set[str]] = []

    def look(note: str) -> str:
        seen.append({path.relative_to(tmp_path / "log").as_posix() for path in (tmp_path / "log").rglob("*")})
        return note

    log = Log(tmp_path, look)
    log.grow(200)
    published = log.tree()
    log.grow(100)
    assert "tile/0/000" in seen[-1]
    assert seen[-1] >= published.keys()
    log.database.close()


def test_a_restart_keeps_what_was_published_and_removes_what_is_ahead(log: Log) -> None:
    log.grow(100)
    log.grow(50)
    before = log.tree()
    for name in ("tile/0/000", "tile/0/000.p/151", "tile/entries/000.p/255", "tile/1/000.p/1", "tile/entries/000"):
        (log.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (log.folder / name).write_bytes(b"ahead")
    log.restart()
    assert log.tree() == before
    assert not (log.folder / "tile/1/000.p").exists()


def test_a_restart_removes_partial_tiles_that_a_crash_left_beside_their_full_one(log: Log, tmp_path: Path) -> None:
    log.grow(200)
    shutil.copytree(log.folder / "tile/0/000.p", tmp_path / "kept")
    log.grow(56)
    before = log.tree()
    shutil.copytree(tmp_path / "kept", log.folder / "tile/0/000.p")
    log.restart()
    assert log.tree() == before
    assert not (log.folder / "tile/0/000.p").exists()


@pytest.mark.parametrize(
    "name", ["tile/0/000.p/200", "tile/entries/000.p/200", "tile/0/001.p/44", "tile/1/000.p/1"]
)
def test_a_mirror_may_keep_partial_tiles_and_each_must_be_the_start_of_its_tile(log: Log, name: str) -> None:
    kept: dict[str, bytes] = {}
    for step in (200, 100, 300):
        log.grow(step)
        kept |= log.tree()
    for file, raw in kept.items():
        (log.folder / file).parent.mkdir(exist_ok=True)
        (log.folder / file).write_bytes(raw)
    assert verify_folder(log.folder).findings == []
    for changed in (kept[name][:-1] + bytes([kept[name][-1] ^ 1]), kept[name][:-33], kept[name] + bytes(32), b""):
        (log.folder / name).write_bytes(changed)
        assert [(one.what, one.file) for one in verify_folder(log.folder).findings] == [("tile", name)]


@pytest.mark.parametrize("name", ["tile/0/002.p/89", "tile/0/003.p/1", "tile/2/000.p/1", "tile/0/002.p/088"])
def test_a_partial_tile_that_no_earlier_size_had_does_not_belong(log: Log, name: str) -> None:
    log.grow(600)
    (log.folder / name).parent.mkdir(parents=True, exist_ok=True)
    (log.folder / name).write_bytes((log.folder / "tile/0/002.p/88").read_bytes())
    assert [(one.what, one.file) for one in verify_folder(log.folder).findings] == [("file", name)]


def test_a_damaged_tile_does_not_vouch_for_its_partial_ones(log: Log) -> None:
    log.grow(100)
    log.grow(50)
    for name in ("tile/0/000.p/150", "tile/entries/000.p/150"):
        (log.folder / name).write_bytes(b"damaged")
    files = {one.file for one in verify_folder(log.folder).findings}
    assert files >= {"tile/0/000.p/100", "tile/entries/000.p/100", "tile/0/000.p/150"}


def test_a_partial_tile_that_goes_while_a_folder_is_read_is_no_finding(log: Log) -> None:
    log.grow(100)
    log.grow(50)
    source = FolderSource(log.folder)
    log.grow(150)
    report = verify_log(source, trust=TRUST)
    assert (report.findings, report.size) == ([], 150)


@pytest.mark.parametrize("after", [1, 255, 256, 257, 512, 65_535, 65_536, 70_000])
@pytest.mark.parametrize("before", [0, 1, 255, 256, 300, 65_535, 65_537])
def test_what_is_completed_between_two_sizes(before: int, after: int) -> None:
    levels: list[tuple[int | str, int]] = [("entries", 0), (0, 0), (1, 8), (2, 16)]
    expected = {
        (level, index)
        for level, shift in levels
        for index in range(300)
        if 0 < (before >> shift) - index * 256 < 256 and (after >> shift) >= (index + 1) * 256
    }
    assert set(completed(before, after)) == expected


def test_widths_and_paths_of_tiles() -> None:
    assert [width_at(0, index, 300) for index in range(3)] == [256, 44, 0]
    assert (width_at("entries", 1, 300), width_at(1, 0, 300), width_at(1, 0, 255)) == (44, 1, 0)
    assert parse_tile_path("tile/entries/x001/002.p/7") == ("entries", 1002, 7)
    assert parse_tile_path("tile/3/002") == (3, 2, 256)
    assert parse_tile_path("tile/3/002.p/256") is None
