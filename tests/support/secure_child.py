"""A town of agents in processes that die: a parent with everything imported forks one child per request.

The parent reads requests from standard input, a line of JSON each:

    {"folder": ..., "crash": [point, nth call] or null}

and writes `ended STATUS` when a child is gone. A child sets a run up and plays it to its end, or goes on with it
as a coordinator would that was told to repeat all since the last release. It notes every answer of every agent in
`answers.ndjson`. One that reaches its crash point exits at once with status 70, as a killed process would.
"""

import hashlib
import json
import os
import pickle
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from secure_bench import TOWN, SecureBench, secure_task

from client.agent import secure_tables as tables
from client.agent.ledger import BrandLedger
from client.agent.secure_runs import SecureRuns
from client.port import ModelDelivery
from consent.contract import SolverSettings
from privacy.randomness import SystemNoise
from simulations.quiet import quiet_libraries

CRASHED = 70
POINTS: dict[str, tuple[Any, str, bool]] = {
    "before a run is kept": (tables, "add_run", False),
    "while a run is kept": (tables, "add_run", True),
    "after a run was joined": (SecureRuns, "_join", True),
    "while secrets are kept": (tables, "save_state", True),
    "after secrets were kept": (SecureRuns, "_save", True),
    "before the ledger reserves": (BrandLedger, "reserve", False),
    "after the ledger reserved": (BrandLedger, "reserve", True),
    "while a sum is committed": (tables, "add_slot", True),
    "after a sum was committed": (SecureRuns, "mask", True),
    "while an opening is kept": (tables, "mark_opened", True),
    "after an opening was kept": (SecureRuns, "open", True),
    "while secrets are deleted": (tables, "forget_secrets", True),
    "after secrets were deleted": (SecureRuns, "end", True),
}
"""Name of a crash point: whose function, which, and whether the process dies after it rather than before."""


def arm(point: str, nth: int) -> None:
    """Make the process die at the nth call of a crash point's function."""
    owner, name, after = POINTS[point]
    function: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def dying(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls < nth:
            return function(*args, **kwargs)
        if after:
            function(*args, **kwargs)
        os._exit(CRASHED)

    setattr(owner, name, dying)


class Journal:
    """Every answer that left an agent, with what it answered."""

    def __init__(self, path: Path) -> None:
        self._stream = path.open("a")

    def note(self, brand: str, message: str, answer: str | bytes) -> None:
        content = answer if isinstance(answer, bytes) else answer.encode()
        line = {"brand": brand, "message": message, "answer": hashlib.sha256(content).hexdigest()}
        self._stream.write(json.dumps(line) + "\n")
        self._stream.flush()


def set_up(bench: SecureBench, journal: Journal) -> None:
    bench.setup_text = bench.setup_request(bench.agreed).setup
    bench.advertised, bench.sealed = [], {}
    for name, one in bench.agents.items():
        bench.advertised.append(one.agent.setup(bench.setup_request(bench.agreed)))
        journal.note(name, "setup", bench.advertised[-1])
    for name, one in bench.agents.items():
        bench.sealed[name] = one.agent.share(bench.share_request())
        journal.note(name, "share", bench.sealed[name])
    bench.keep()


def play_round(bench: SecureBench, journal: Journal) -> None:
    number, manifest = bench.state.next_round, bench.manifest()
    replies = {}
    for name, one in bench.agents.items():
        replies[name] = one.agent.release(bench.request(manifest))
        journal.note(name, f"round {number}", replies[name].total.tobytes())
        journal.note(name, f"attestation {number}", replies[name].attestation)
    closing = bench.closing(manifest, TOWN)
    answers = []
    for name, one in bench.agents.items():
        answers.append(one.agent.open(bench.open_request(closing)))
        journal.note(name, f"closing {number}", answers[-1])
    total = bench.total(manifest, closing, replies, answers)
    journal.note("coordinator", f"sum {number}", np.ascontiguousarray(total).tobytes())
    bench.released(total)


def run(bench: SecureBench, folder: Path) -> None:
    """Play a run from where the folder says that it is."""
    bench.folder = folder
    bench.agents = {name: _moved(one, folder / name) for name, one in bench.agents.items()}
    journal, progress = Journal(folder / "answers.ndjson"), folder / "progress"
    if progress.exists():
        bench.state, bench.release, bench.slot = pickle.loads(progress.read_bytes())  # noqa: S301 - our own
        finished = bench.solver.is_finished(bench.state)
    else:
        finished = False
    if not finished:
        set_up(bench, journal)
    while not bench.solver.is_finished(bench.state):
        play_round(bench, journal)
        temporary = folder / "progress.new"
        temporary.write_bytes(pickle.dumps((bench.state, bench.release, bench.slot)))
        temporary.replace(progress)
    arrays = bench.solver.publish(bench.state).to_arrays()
    for one in bench.agents.values():
        one.agent.install(ModelDelivery(bench.task.model_dump_json(), bench.release, arrays))


def _moved(one: Any, folder: Path) -> Any:
    folder.mkdir(parents=True, exist_ok=True)
    return replace(one, folder=folder)


def main() -> None:
    quiet_libraries()
    with tempfile.TemporaryDirectory() as unused:
        task = secure_task().model_copy(update={"solver": SolverSettings(rounds=1, cells=16, max_bins=8)})
        bench = SecureBench(Path(unused), task=task, noise=SystemNoise())
        bench.agreed = bench.setup()
        bench.close()
        for line in sys.stdin:
            request = json.loads(line)
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    if request["crash"]:
                        arm(*request["crash"])
                    run(bench, Path(request["folder"]))
                    status = 0
                finally:
                    sys.stderr.flush()
                    os._exit(status)
            _, status = os.waitpid(child, 0)
            os.write(1, f"ended {os.waitstatus_to_exitcode(status)}\n".encode())


if __name__ == "__main__":
    main()
