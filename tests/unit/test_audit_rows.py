"""Every attack and failure that touches the log has a test that is named after its row in the list of attacks."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
NAMED = re.compile(r"^def test_rows?_(\d\d(?:_and_\d\d)*)_", re.MULTILINE)
LAST_ROW = 33
ROWS = {
    1: "replay of a consent snapshot from before a withdrawal",
    2: "truncation, rollback, restore of an old database",
    3: "fork by the holder of the log's key, single-leaf head with an empty path",
    4: "fresh view for clients, frozen view for monitors",
    5: "two writers on one log",
    6: "forged witness line, doubled and unknown signature lines",
    7: "backdated and future events, a clock that is set back or right",
    8: "race of a withdrawal with the start of a round",
    12: "identifiers in logs, addresses, errors and entries",
    13: "a leaf whose payload is easily guessed",
    14: "what is left after an erasure, in files, backups and write-ahead logs",
    19: "injection, traversal on tiles",
    22: "crash at any system call",
    23: "full disk, locked database, database server that stops",
    24: "rotation, loss and compromise of the log's key",
    25: "proof for another size than was asked for",
    26: "audit rows edited or deleted",
    27: "officers read without a trace",
}


@pytest.fixture(scope="module")
def named() -> set[int]:
    found = [match for path in TESTS.rglob("test_*.py") for match in NAMED.findall(path.read_text())]
    return {int(row) for rows in found for row in rows.split("_and_")}


@pytest.mark.parametrize("row", ROWS)
def test_there_is_a_test_of_the_row(named: set[int], row: int) -> None:
    assert row in named, ROWS[row]


def test_no_test_names_a_row_that_the_list_does_not_have(named: set[int]) -> None:
    assert named <= set(range(1, LAST_ROW + 1))
