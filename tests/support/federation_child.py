"""Federations in processes that can be killed: a parent with everything imported forks one child per request.

The parent reads requests from standard input, a line of JSON each:

    {"folder": ..., "run": ..., "crash": [point, nth call] or null, "noise": "system" or "zero", "mode": ...}

and writes events to standard output, a line each: `child PID` when a child starts, what its observer sees
(`opened ROUND`, `released ROUND`), and `ended STATUS` when it is gone. A child that reaches its crash point
exits at once with status 70, running no handler of its own, as a killed process would.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from small_federation import Watcher, ZeroNoise, open_federation, secure_task

from client.agent.ledger import BrandLedger
from client.agent.models import ModelStore
from client.agent.secure_runs import SecureRuns
from consent.client import ConsentClient
from server.masked_sums import SecureProtocol
from server.rounds import RoundProtocol
from server.runs import RunFolder
from simulations.quiet import quiet_libraries

CRASHED = 70

POINTS: dict[str, tuple[type, str, bool]] = {
    "after the round is opened": (RoundProtocol, "reopen", True),
    "after the ledger reserved": (BrandLedger, "reserve", True),
    "before the ledger commits": (BrandLedger, "commit", False),
    "after the ledger committed, before the reply": (BrandLedger, "commit", True),
    "after all replies, before the state is saved": (RunFolder, "save", False),
    "after the state is saved, before the release": (RunFolder, "save", True),
    "after the release": (RoundProtocol, "commit", True),
    "after a brand installed the model": (ModelStore, "install", True),
    "after the setup is kept": (RunFolder, "keep", True),
    "after the setup is recorded": (ConsentClient, "record_setup", True),
    "after a brand joined": (SecureRuns, "setup", True),
    "after a brand dealt its shares": (SecureRuns, "share", True),
    "after a brand kept its shares": (SecureRuns, "keep", True),
    "after an attempt is opened": (SecureProtocol, "open", True),
    "after a sum arrived": (SecureProtocol, "arrived", True),
    "before the sums are kept": (RunFolder, "keep", False),
    "after the sums are kept": (RunFolder, "keep", True),
    "after the closing is recorded": (ConsentClient, "close_round", True),
    "after a brand helped to open": (SecureRuns, "open", True),
    "after the sum is open": (SecureProtocol, "total", True),
}
"""Name of a crash point: the class and method, and whether the process dies after it rather than before."""


def tell(line: str) -> None:
    os.write(1, f"{line}\n".encode())


def arm(point: str, nth: int) -> None:
    """Make the process die at the nth call of a crash point's method."""
    kind, name, after = POINTS[point]
    method: Callable[..., Any] = getattr(kind, name)
    calls = 0

    def dying(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls < nth:
            return method(*args, **kwargs)
        if after:
            method(*args, **kwargs)
        os._exit(CRASHED)

    setattr(kind, name, dying)


def run(request: dict[str, Any]) -> None:
    if request["crash"]:
        arm(*request["crash"])
    options: dict[str, Any] = {"noise": lambda _brand: ZeroNoise()} if request["noise"] == "zero" else {}
    if request["mode"] == "distributed":
        options["task"] = secure_task()
    watcher = Watcher(
        on_opened=lambda manifest: tell(f"opened {manifest.round}"),
        on_released=lambda release: tell(f"released {release.round}"),
    )
    with open_federation(Path(request["folder"]), **options) as federation:
        federation.run(request["run"], watcher)


def main() -> None:
    quiet_libraries()
    tell("ready")
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                run(json.loads(line))
                status = 0
            finally:
                sys.stderr.flush()
                os._exit(status)
        tell(f"child {child}")
        _, status = os.waitpid(child, 0)
        tell(f"ended {os.waitstatus_to_exitcode(status)}")


if __name__ == "__main__":
    main()
