"""Agents that die between any two durable steps of a masked run answer afterwards as they did before."""

import json
import os
import sqlite3
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

SUPPORT = Path(__file__).parents[1] / "support"
TOWN = ("ant", "bee", "cat", "dog", "eel")
ROUNDS = 2
CRASHED = 70
PATIENCE = 900.0

CRASHES = {
    "before a run is kept": 3,
    "while a run is kept": 3,
    "after a run was joined": 3,
    "while secrets are kept": 3,
    "after secrets were kept": 8,
    "before the ledger reserves": 8,
    "after the ledger reserved": 3,
    "while a sum is committed": 8,
    "after a sum was committed": 3,
    "while an opening is kept": 8,
    "after an opening was kept": 3,
    "while secrets are deleted": 2,
    "after secrets were deleted": 2,
}
"""Where the agents' process dies, and at which call: of five agents, in set-up, first or second round."""


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[int]]:
    """Kill a town at every point and let it go on; return its folders and how all processes ended."""
    folder = tmp_path_factory.mktemp("killed")
    requests = []
    for number, (point, nth) in enumerate(CRASHES.items()):
        (folder / str(number)).mkdir()
        for crash in ([point, nth], None):
            requests.append(json.dumps({"folder": str(folder / str(number)), "crash": crash}))
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", str(SUPPORT / "secure_child.py")],
        input="\n".join(requests) + "\n",
        stdout=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    return folder, [int(line.removeprefix("ended ")) for line in ended.stdout.splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("point", CRASHES)
def test_agents_that_died_go_on_as_if_they_had_not(point: str, played: tuple[Path, list[int]]) -> None:
    folder, statuses = played
    number = list(CRASHES).index(point)
    assert statuses[2 * number : 2 * number + 2] == [CRASHED, 0]
    town = folder / str(number)
    said: dict[tuple[str, str], set[str]] = defaultdict(set)
    for line in (town / "answers.ndjson").read_text().splitlines():
        note = json.loads(line)
        said[note["brand"], note["message"]].add(note["answer"])
    assert {key for key, answers in said.items() if len(answers) != 1} == set()
    for brand in TOWN:
        assert {message for name, message in said if name == brand} >= {"setup", "share", "closing 1", "round 1"}
        with sqlite3.connect(town / brand / "ledger.db") as connection:
            assert connection.execute("SELECT round, state FROM ledger ORDER BY id").fetchall() == [
                (round_number, "committed") for round_number in range(ROUNDS)
            ]
            slots = connection.execute("SELECT round, closing IS NOT NULL, payload FROM secure_slots").fetchall()
            assert sorted(slots) == [(round_number, 1, None) for round_number in range(ROUNDS)]
            assert connection.execute("SELECT secrets FROM secure_runs").fetchall() == [(None,)]
