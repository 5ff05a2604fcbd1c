"""Children that run federations and can be killed, and what their published logs tell."""

import json
import os
import select
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from consent.log.openings import FOLDER as OPENINGS

SUPPORT = Path(__file__).parent
RUN = "run-1"
CRASHED = 70
PATIENCE = 120.0


class Nursery:
    """The parent of children that run federations; its lines are read with a deadline."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", str(SUPPORT / "federation_child.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        self._unread = b""
        assert self.line() == "ready"

    def start(self, folder: Path, *, noise: str, crash: tuple[str, int] | None = None, mode: str = "local") -> int:
        """Start a child and return its process id."""
        request = {"folder": str(folder), "run": RUN, "crash": crash, "noise": noise, "mode": mode}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        return int(self.line().removeprefix("child "))

    def line(self, patience: float = PATIENCE) -> str:
        """Return the next line, or an empty one when none came in time."""
        assert self._process.stdout is not None
        deadline = time.monotonic() + patience
        while b"\n" not in self._unread:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._process.stdout], [], [], left)[0]:
                return ""
            chunk = os.read(self._process.stdout.fileno(), 4096)
            assert chunk, "the parent of the federations is gone"
            self._unread += chunk
        line, _, self._unread = self._unread.partition(b"\n")
        return line.decode()

    def ended(self) -> int:
        """Read up to the end of the child and return its exit status."""
        while line := self.line():
            if line.startswith("ended "):
                return int(line.removeprefix("ended "))
        pytest.fail("a federation did not end")

    def close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        self._process.wait(PATIENCE)


def released(folder: Path) -> Counter[tuple[str, int]]:
    """Count the releases in the published log, by run and round; entries about a customer are sealed."""
    lines = [
        json.loads(line)
        for path in sorted((folder / "consent" / "log" / OPENINGS).glob("*.ndjson"))
        for line in path.read_text().splitlines()
    ]
    payloads = [line["payload"] for line in lines if "payload" in line]
    releases = [payload["release"] for payload in payloads if payload["kind"] == "release_committed"]
    return Counter((release["run_id"], release["round"]) for release in releases)
