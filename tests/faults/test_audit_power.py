"""Power cuts and full disks: a copy taken in the middle of writing opens with all that was acknowledged before."""

import json
import random
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import log_child
import pytest

from consent.log.commitments import Opening
from consent.log.store import append, entries, read_head
from consent.log.verify import verify_folder

FULL_DISK = Path(__file__).parents[1] / "support" / "full_disk_child.py"


class Writer:
    """Appends and publishes without pause in a thread of its own; `acknowledged` counts what was committed."""

    def __init__(self, folder: Path) -> None:
        self._database = log_child.database(folder)
        self._publisher = log_child.publisher(folder, self._database)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._write)
        self.acknowledged = 0
        self.progress = threading.Condition()

    def __enter__(self) -> "Writer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()
        self._database.close()

    def wait_for(self, count: int) -> None:
        with self.progress:
            assert self.progress.wait_for(lambda: self.acknowledged >= count, 30)

    def _write(self) -> None:
        while not self._stopped.is_set():
            with self._database.writing() as session:
                append(session, [{"kind": "work", "number": self.acknowledged}])
            with self.progress:
                self.acknowledged += 1
                self.progress.notify_all()
            self._publisher.start()


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    folder = tmp_path / "live"
    folder.mkdir()
    log_child.prepare(folder)
    return folder


@pytest.mark.parametrize("cuts", [4, pytest.param(60, marks=pytest.mark.slow)])
def test_a_power_cut_at_a_random_moment_loses_nothing_acknowledged(
    prepared: Path, tmp_path: Path, cuts: int
) -> None:
    """A reader keeps the write-ahead log from being folded in, so that a copy is of one moment."""
    dice = random.Random(cuts)  # noqa: S311 - it chooses when to cut
    reader = log_child.database(prepared)
    with reader.reading() as session, Writer(prepared) as writer:
        read_head(session)
        for cut in range(cuts):
            writer.wait_for(writer.acknowledged + dice.randrange(1, 6))
            acknowledged = writer.acknowledged
            checkpoint = (prepared / "public" / "log" / "checkpoint").read_bytes()
            copy = tmp_path / f"cut-{cut}"
            copy.mkdir()
            for name in ("log.db", "log.db-wal"):
                shutil.copyfile(prepared / name, copy / name)
            _check_copy(copy, acknowledged, checkpoint)
            shutil.rmtree(copy)
    reader.close()


def _check_copy(copy: Path, acknowledged: int, checkpoint: bytes) -> None:
    """Everything acknowledged before the copy is there, and the copy extends the checkpoint before it."""
    kept = copy / "kept"
    kept.write_bytes(checkpoint)
    database = log_child.database(copy)
    with database.reading() as session:
        size = read_head(session).size
        stored = [entry.opening for entry in entries(session, log_child.BEFORE, size)]
    log_child.publisher(copy, database).start()
    database.close()
    numbers = [json.loads(opening.payload)["number"] for opening in stored if isinstance(opening, Opening)]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) >= acknowledged
    report = verify_folder(copy / "public" / "log", since=kept)
    assert (report.findings, report.size) == ([], size)


def _on_a_full_disk(folder: Path) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(FULL_DISK), str(folder)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    seen: dict[str, object] = json.loads(done.stdout)
    return seen


def test_a_grant_on_a_full_disk_fails_closed_and_leaves_nothing(tmp_path: Path) -> None:
    seen = _on_a_full_disk(tmp_path)
    before = seen["size_before"]
    assert isinstance(before, int)
    assert seen == {
        "size_before": before,
        "refused": "unavailable",
        "allowed_while_full": False,
        "size_after": before,
        "allowed_with_room": True,
        "size_with_room": before + 1,
        "findings": 0,
    }
