"""One customer more or less moves a rounded sum by at most the stated sensitivity, whoever the others are."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from client.training import Contribution, Trainer
from privacy.binning import CellLayout
from privacy.solvers import AcceleratedAdditive, Marginals, Query

LAYOUTS = (CellLayout(9, ordered=True), CellLayout(4, ordered=False))
SOLVER = AcceleratedAdditive(LAYOUTS, 5, 0.5, 0.1, 8, 1.0, 1e-6)
SEVERAL = [
    replace(SOLVER, brands_per_customer=most, distributed=distributed, brands=5 if distributed else None)
    for most in (2, 3)
    for distributed in (False, True)
]
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


@pytest.mark.parametrize("solver", SEVERAL, ids=lambda one: f"{one.brands_per_customer}-{one.distributed}")
@given(
    crowds=st.lists(st.lists(CUSTOMER, max_size=8), min_size=3, max_size=3),
    customer=st.lists(CUSTOMER, min_size=3, max_size=3),
    counts=st.lists(st.floats(-50, 400), min_size=SOLVER.marginals_length, max_size=SOLVER.marginals_length),
    data=st.data(),
)
@settings(max_examples=30, deadline=None)
def test_a_customer_at_several_brands(
    solver: AcceleratedAdditive,
    crowds: list[list[tuple[int, ...]]],
    customer: list[tuple[int, ...]],
    counts: list[float],
    data: st.DataObject,
) -> None:
    """Who is added at m brands, with rows of their own at each, costs no more than the plan's noise is for."""
    marginals = data.draw(st.sampled_from([None, Marginals(np.array(counts), 1)]))
    width = 0 if marginals is None else solver.feature_map(marginals).dimension
    direction = data.draw(st.lists(st.floats(-9, 9), min_size=width, max_size=width))
    query, mechanism = Query(marginals, np.array(direction)), solver.mechanism(marginals)
    moves = []
    for crowd, row in list(zip(crowds, customer, strict=True))[: solver.brands_per_customer]:
        with_them, without = (
            mechanism.to_grid(Trainer(solver).exact_sum(query, contribution(people), cohort="crowd"))
            for people in ([*crowd, row], crowd)
        )
        moves.append(mechanism.from_grid(with_them - without))
    released = np.sum(moves, axis=0) if solver.distributed else np.concatenate(moves)
    number = 0 if marginals is None else 1
    accounted = mechanism.standard_deviation / solver.noise_multiplier(number, brands=solver.brands_per_customer)
    assert float(np.linalg.norm(released)) <= accounted + SLACK
