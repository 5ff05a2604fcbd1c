"""The states of a round: the only ways between them, and that the document shows exactly these."""

import re
from itertools import product
from pathlib import Path

import pytest

import confide
from server.errors import RoundOrderError
from server.states import FIRST, TRANSITIONS, RoundProgress, RoundState

PAGE = Path(confide.__file__).parent / "docs" / "rounds.md"
ARROW = re.compile(r"^ {4}(\S+) --> (\S+)$", re.MULTILINE)


def reached(state: RoundState) -> RoundProgress:
    """Return a round that has come to a state by the shortest way."""
    ways: list[tuple[RoundState, ...]] = [(first,) for first in sorted(FIRST)]
    while (way := ways.pop(0))[-1] is not state:
        ways += [(*way, step) for step in sorted(TRANSITIONS[way[-1]])]
    progress = RoundProgress("run-1", 3)
    for step in way:
        progress.move(step)
    return progress


@pytest.mark.parametrize(("state", "step"), list(product(RoundState, RoundState)))
def test_only_the_steps_of_the_table_can_be_taken(state: RoundState, step: RoundState) -> None:
    progress = reached(state)
    if step in TRANSITIONS[state]:
        progress.move(step)
        assert progress.state is step
    else:
        with pytest.raises(RoundOrderError, match=f"Round 3 can not go from {state} to {step}"):
            progress.move(step)
        assert progress.state is state


@pytest.mark.parametrize("state", RoundState)
def test_a_round_begins_where_the_table_says(state: RoundState) -> None:
    progress = RoundProgress("run-1", 0)
    if state in FIRST:
        progress.move(state)
        return
    with pytest.raises(RoundOrderError):
        progress.move(state)


def test_the_document_draws_these_steps_and_no_others() -> None:
    drawn = set(ARROW.findall(PAGE.read_text()))
    steps = {(state.value, step.value) for state, ways in TRANSITIONS.items() for step in ways}
    begins = {("[*]", state.value) for state in FIRST}
    ends = {(state.value, "[*]") for state, ways in TRANSITIONS.items() if not ways}
    assert drawn == steps | begins | ends


def test_every_state_has_its_row() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", PAGE.read_text(), re.MULTILINE)
    assert rows == [state.value for state in RoundState]
