"""One customer more or less moves a rounded sum by at most the stated sensitivity, whoever the others are."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from client.training import Contribution, Trainer
from privacy.binning import CellLayout
from privacy.solvers import AcceleratedAdditive, Marginals, Query

LAYOUTS = (CellLayout(9, ordered=True), CellLayout(4, ordered=False))
SOLVER = AcceleratedAdditive(LAYOUTS, 5, 0.5, 0.1, 8, 1.0, 1e-6)
SLACK = 1e-9

CUSTOMER = st.tuples(*(st.integers(0, layout.cells - 1) for layout in LAYOUTS), st.integers(0, 1))


def contribution(people: list[tuple[int, ...]]) -> Contribution:
    rows = np.array(people, dtype=np.int16).reshape(len(people), len(LAYOUTS) + 1)
    return Contribution(rows[:, :-1], rows[:, -1].astype(np.int8))


def moved(query: Query, people: list[tuple[int, ...]], position: int) -> float:
    """Return the L2 change of the rounded sum, in units of the sum, when one customer leaves."""
    mechanism = SOLVER.mechanism(query.marginals)
    sums: list[NDArray[np.int64]] = [
        mechanism.to_grid(Trainer(SOLVER).exact_sum(query, contribution(crowd), cohort="crowd"))
        for crowd in (people, people[:position] + people[position + 1 :])
    ]
    return float(np.linalg.norm(mechanism.from_grid(sums[0] - sums[1])))


@given(people=st.lists(CUSTOMER, min_size=1, max_size=30), data=st.data())
@settings(max_examples=60, deadline=None)
def test_marginals(people: list[tuple[int, ...]], data: st.DataObject) -> None:
    query = SOLVER.query(SOLVER.start())
    change = moved(query, people, data.draw(st.integers(0, len(people) - 1)))
    assert change <= SOLVER.mechanism(None).sensitivity + SLACK


@given(
    people=st.lists(CUSTOMER, min_size=1, max_size=30),
    counts=st.lists(st.floats(-50, 400), min_size=SOLVER.marginals_length, max_size=SOLVER.marginals_length),
    reach=st.sampled_from([0.0, 1.0, 30.0, 1e6]),
    data=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_gradients(people: list[tuple[int, ...]], counts: list[float], reach: float, data: st.DataObject) -> None:
    marginals = Marginals(np.array(counts), 1)
    width = SOLVER.feature_map(marginals).dimension
    direction = data.draw(st.lists(st.floats(-1, 1), min_size=width, max_size=width))
    query = Query(marginals, reach * np.array(direction))
    change = moved(query, people, data.draw(st.integers(0, len(people) - 1)))
    assert change <= SOLVER.mechanism(marginals).sensitivity + SLACK
