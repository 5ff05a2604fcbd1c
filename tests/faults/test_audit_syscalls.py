"""Every system call of an append and its publication fails once, or is the last: nothing acknowledged is lost."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import log_child
import pytest

from consent.log.commitments import Opening
from consent.log.store import entries, read_head
from consent.log.verify import verify_folder

CHILD = Path(log_child.__file__)
CALLS = ("openat", "write", "pwrite64", "fsync", "fdatasync", "rename", "unlink", "ftruncate", "mkdir", "flock")
FAULTS = {"EIO": "error=EIO", "ENOSPC": "error=ENOSPC", "SIGKILL": "signal=KILL"}
LEFTOVERS = {"file", "opening", "openings"}
"""What a crash may leave ahead of the checkpoint; the next start removes it."""


class Tracer:
    """Runs the work of `log_child` under strace."""

    def __init__(self) -> None:
        self._nursery = subprocess.Popen(
            [sys.executable, "-W", "ignore", str(CHILD)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._line() == "ready"

    def run(self, folder: Path, *options: str) -> tuple[int, list[int]]:
        """Return the exit status of the work and the numbers that it acknowledged."""
        assert self._nursery.stdin is not None
        self._nursery.stdin.write(f"{folder}\n")
        self._nursery.stdin.flush()
        child = int(self._line().removeprefix("child "))
        with subprocess.Popen(
            ["strace", "-o", str(folder / "trace"), *options, "-p", str(child)], stderr=subprocess.PIPE, text=True
        ) as strace:
            assert strace.stderr is not None
            if "attached" not in (said := strace.stderr.readline()):
                os.kill(child, signal.SIGKILL)
                self._line()
                pytest.skip(f"strace may not trace here: {said.strip()}")
            os.kill(child, signal.SIGUSR1)
            acknowledged = []
            while not (line := self._line()).startswith("ended "):
                acknowledged.append(int(line.removeprefix("acknowledged ")))
        return int(line.removeprefix("ended ")), acknowledged

    def close(self) -> None:
        for pipe in (self._nursery.stdin, self._nursery.stdout):
            assert pipe is not None
            pipe.close()
        self._nursery.wait(20)

    def _line(self) -> str:
        assert self._nursery.stdout is not None
        return self._nursery.stdout.readline().strip()


@pytest.fixture(scope="module")
def tracer() -> Iterator[Tracer]:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed; `apt-get install strace`.")
    tracer = Tracer()
    yield tracer
    tracer.close()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    log_child.prepare(folder)
    return folder


@pytest.fixture(scope="module")
def undisturbed(tracer: Tracer, prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Counter[str]:
    """How often the work makes each call when nothing fails."""
    folder = tmp_path_factory.mktemp("undisturbed") / "log"
    shutil.copytree(prepared, folder)
    status, acknowledged = tracer.run(folder, "-e", f"trace={','.join(CALLS)}")
    assert (status, len(acknowledged)) == (0, sum(log_child.BATCHES))
    return Counter(re.findall(r"^(\w+)\(", (folder / "trace").read_text(), re.MULTILINE))


def check(folder: Path, acknowledged: list[int]) -> None:
    """Restart on what is left: the checkpoint is covered, nothing acknowledged is lost, nothing forked."""
    public = folder / "public" / "log"
    crashed = verify_folder(public)
    assert [finding for finding in crashed.findings if finding.what not in LEFTOVERS] == []
    kept = folder / "kept"
    kept.write_bytes((public / "checkpoint").read_bytes())
    database = log_child.database(folder)
    log_child.publisher(folder, database).start()
    with database.reading() as session:
        size = read_head(session).size
        stored = [entry.opening for entry in entries(session, log_child.BEFORE, size)]
    database.close()
    numbers = [json.loads(opening.payload)["number"] for opening in stored if isinstance(opening, Opening)]
    assert set(acknowledged) <= set(numbers)
    assert len(numbers) == len(set(numbers)) == size - log_child.BEFORE
    report = verify_folder(public, since=kept)
    assert (report.findings, report.size) == ([], size)


def disturb(tracer: Tracer, prepared: Path, folder: Path, call: str, fault: str, at: int) -> None:
    shutil.copytree(prepared, folder)
    status, acknowledged = tracer.run(
        folder, "-e", f"trace={call}", "-e", f"inject={call}:{FAULTS[fault]}:when={at}"
    )
    assert status == (-signal.SIGKILL if fault == "SIGKILL" else 0)
    try:
        check(folder, acknowledged)
    except AssertionError as error:
        error.add_note(f"{fault} at {call} number {at}; acknowledged {acknowledged}")
        raise
    shutil.rmtree(folder)


def test_the_work_makes_the_calls_that_are_disturbed(undisturbed: Counter[str]) -> None:
    assert {"openat", "write", "pwrite64", "rename", "unlink"} <= set(undisturbed)
    assert undisturbed["fsync"] + undisturbed["fdatasync"] > len(log_child.BATCHES)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_call_that_fails_loses_nothing(
    tracer: Tracer, prepared: Path, undisturbed: Counter[str], tmp_path: Path, fault: str
) -> None:
    """The middle one of each kind of call; the slow test disturbs every single one."""
    for call, count in undisturbed.items():
        disturb(tracer, prepared, tmp_path / call, call, fault, (count + 1) // 2)


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("call", CALLS)
def test_any_call_that_fails_loses_nothing(
    tracer: Tracer, prepared: Path, undisturbed: Counter[str], tmp_path: Path, fault: str, call: str
) -> None:
    for at in range(1, undisturbed[call] + 1):
        disturb(tracer, prepared, tmp_path / str(at), call, fault, at)
