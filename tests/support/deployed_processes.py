"""Real processes of a test: each logs to a file, is waited for by polling, and ends with all its children."""

import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import psutil

BIN = Path(sys.executable).parent
POLL_SECONDS = 0.2
GRACE_SECONDS = 4.0
LOG_TAIL = 4_000


class DeploymentError(AssertionError):
    """A process ended, or something was not there in time; carries the end of every log."""


def free_ports(count: int) -> list[int]:
    """Return loopback ports that nobody listens on, all different."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


def answers(url: str, status: int = 200, *, authority: Path | None = None) -> bool:
    """Say whether an address answers with a status, under a certificate authority of its own if it has one."""
    verify = True if authority is None else ssl.create_default_context(cafile=authority)
    try:
        return httpx.get(url, timeout=5, trust_env=False, verify=verify).status_code == status
    except httpx.TransportError:
        return False


class Processes:
    """Starts commands of this virtual environment; use `stop` in a `finally`.

    Args:
        logs: the folder for their output.
        environment: variables that all of them see beside the usual ones; no other `CONFIDE_` or `FLWR_` one.
    """

    def __init__(self, logs: Path, environment: Mapping[str, str]) -> None:
        self._logs = logs
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("CONFIDE_", "FLWR_"))}
        self._environment = {**kept, **environment, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
        logs.mkdir(parents=True)

    def start(self, name: str, *command: str, folder: Path, **environment: str) -> None:
        """Start a command in the background, in a session of its own."""
        with self._log(name).open("ab") as log:
            self._running[name] = subprocess.Popen(
                [str(BIN / command[0]), *command[1:]],
                cwd=folder,
                env={**self._environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def run(self, name: str, *command: str, folder: Path, seconds: float = 60, **environment: str) -> int:
        """Run a command to its end and return its exit status; its output is in `output(name)`."""
        self.start(name, *command, folder=folder, **environment)
        process = self._running[name]
        self.wait_for(f"{name} to end", lambda: process.poll() is not None, seconds=seconds)
        return self._running.pop(name).returncode

    def output(self, name: str) -> str:
        """Return what a process has written so far."""
        return self._log(name).read_text(errors="replace")

    def wait_for(self, what: str, ready: Callable[[], bool], *, seconds: float) -> None:
        """Return as soon as something is so.

        Raises:
            DeploymentError: it is not so in time, or a background process has ended.
        """
        deadline = time.monotonic() + seconds
        while not ready():
            ended = [name for name, process in self._running.items() if process.poll() not in {None, 0}]
            if ended or time.monotonic() > deadline:
                reason = f"{', '.join(ended)} ended" if ended else f"not within {seconds:g} s"
                raise DeploymentError(f"Waited for {what}: {reason}.\n{self._tails()}")
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """End every process with all its children, in the reverse order of their start; idempotent."""
        found = self._with_children()
        for process in reversed(self._running.values()):
            process.terminate()
        psutil.wait_procs(found, timeout=GRACE_SECONDS)
        found |= self._with_children()
        for one in filter(_alive, found):
            with suppress(psutil.NoSuchProcess):
                one.kill()
        for process in self._running.values():
            process.wait(GRACE_SECONDS)
        psutil.wait_procs([one for one in found if _alive(one)], timeout=GRACE_SECONDS)
        self._running.clear()
        left = [one.name() for one in found if _alive(one)]
        if left:
            raise DeploymentError(f"These processes could not be ended: {', '.join(left)}.")

    def _with_children(self) -> set[psutil.Process]:
        found: set[psutil.Process] = set()
        for process in self._running.values():
            with suppress(psutil.NoSuchProcess):
                root = psutil.Process(process.pid)
                found |= {root, *root.children(recursive=True)}
        return found

    def _log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def _tails(self) -> str:
        return "\n".join(
            f"--- {path.stem}\n{path.read_text()[-LOG_TAIL:]}" for path in sorted(self._logs.iterdir())
        )


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
