"""The accelerated additive solver: it learns, its states survive a checkpoint, and bad queries are refused."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from small_federation import ZeroNoise

from client.training import Contribution, Trainer
from privacy.binning import CellLayout
from privacy.errors import InvalidContributionError
from privacy.randomness import NoiseSource, SeededNoise
from privacy.solvers import AcceleratedAdditive, Marginals, Query, SolverState
from privacy.vectors import Arrays, arrays_digest

LAYOUTS = (CellLayout(33, ordered=True), CellLayout(33, ordered=True), CellLayout(5, ordered=False))


def solver(rounds: int = 30, epsilon: float = 2.0) -> AcceleratedAdditive:
    return AcceleratedAdditive(LAYOUTS, rounds, 0.5, 0.1, 16, epsilon, 1e-6)


def customers(count: int, seed: int) -> tuple[Contribution, NDArray[np.float64]]:
    """Return encoded customers and the raw numbers behind the cells."""
    rng = np.random.default_rng(seed)
    raw = np.column_stack([rng.uniform(-3, 3, count), rng.uniform(-3, 3, count), rng.integers(0, 4, count)])
    odds = 1.2 * raw[:, 0] - 0.8 * raw[:, 1] + np.array([0.0, 1.0, -1.0, 0.5])[raw[:, 2].astype(int)] - 0.7
    labels = (rng.random(count) < 1 / (1 + np.exp(-odds))).astype(np.int8)
    cells = np.column_stack(
        [np.floor((raw[:, 0] + 3) / 6 * 32), np.floor((raw[:, 1] + 3) / 6 * 32), raw[:, 2]]
    ).astype(np.int16)
    return Contribution(cells, labels), raw


def train(solving: AcceleratedAdditive, people: Contribution, noise: NoiseSource) -> SolverState:
    trainer, state = Trainer(solving), solving.start()
    while not solving.is_finished(state):
        query = solving.query(state)
        exact = trainer.exact_sum(query, people, cohort="everyone")
        mechanism = solving.mechanism(query.marginals)
        state = solving.advance(state, mechanism.from_grid(mechanism.release(exact, noise)), 1)
    return state


def test_it_learns_as_well_as_logistic_regression_on_many_customers() -> None:
    people, raw = customers(40_000, seed=1)
    unseen, unseen_raw = customers(20_000, seed=2)
    solving = solver(epsilon=2.0)
    model = solving.model(train(solving, people, SeededNoise(4)))
    private = roc_auc_score(unseen.labels, model.logits(unseen.cells))

    def design(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.column_stack([numbers[:, :2], np.eye(4)[numbers[:, 2].astype(int)]])

    open_model = LogisticRegression(max_iter=1000).fit(design(raw), people.labels)
    not_private = roc_auc_score(unseen.labels, open_model.decision_function(design(unseen_raw)))
    assert not_private > 0.8
    assert private > not_private - 0.01
    assert abs(model.probabilities(unseen.cells).mean() - unseen.labels.mean()) < 0.03


def test_a_state_is_the_same_after_a_checkpoint() -> None:
    solving = solver(rounds=4)
    people, _ = customers(400, seed=3)
    trainer, state = Trainer(solving), solving.start()
    while not solving.is_finished(state):
        state = SolverState.from_arrays(state.to_arrays())
        query = Query.from_arrays(solving.query(state).to_arrays())
        exact = trainer.exact_sum(query, people, cohort="everyone")
        state = solving.advance(state, exact, 1)
    undisturbed = train(solving, people, ZeroNoise())
    published = solving.publish(undisturbed).to_arrays()
    again = solving.publish(SolverState.from_arrays(undisturbed.to_arrays())).to_arrays()
    assert arrays_digest(again) == arrays_digest(published)
    np.testing.assert_allclose(solving.model(state).weights, solving.model(undisturbed).weights, atol=1e-3)


def test_the_model_is_the_mean_of_the_second_half() -> None:
    solving = solver(rounds=4)
    people, _ = customers(400, seed=3)
    trainer, state, iterates = Trainer(solving), solving.start(), []
    while not solving.is_finished(state):
        exact = trainer.exact_sum(solving.query(state), people, cohort="everyone")
        state = solving.advance(state, exact, 1)
        iterates.append(state.weights)
    np.testing.assert_allclose(solving.model(state).weights, np.mean(iterates[3:], axis=0))


def test_customers_that_change_under_one_cohort_name_are_embedded_anew() -> None:
    solving = solver(rounds=4)
    people, _ = customers(400, seed=3)
    state = solving.advance(
        solving.start(), Trainer(solving).exact_sum(solving.query(solving.start()), people, cohort="same"), 1
    )
    query = solving.query(state)
    trainer = Trainer(solving)
    trainer.exact_sum(query, people, cohort="same")
    fewer = Contribution(people.cells[:100], people.labels[:100])
    np.testing.assert_array_equal(
        trainer.exact_sum(query, fewer, cohort="same"),
        Trainer(solving).exact_sum(query, fewer, cohort="fresh"),
    )


def released_marginals(solving: AcceleratedAdditive) -> Marginals:
    people, _ = customers(400, seed=3)
    return Marginals(solving.sum_marginals(people.cells, people.labels), 1)


def good_query(solving: AcceleratedAdditive) -> dict[str, NDArray[np.float64] | NDArray[np.int64]]:
    marginals = released_marginals(solving)
    width = solving.feature_map(marginals).dimension
    return dict(Query(marginals, np.zeros(width)).to_arrays())


def _with(name: str, change: Callable[[NDArray[np.float64]], object]) -> Callable[[Arrays], Arrays]:
    return lambda arrays: {**arrays, name: change(np.array(arrays[name], dtype=np.float64))}  # type: ignore[dict-item]


def _set(value: float) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    def change(array: NDArray[np.float64]) -> NDArray[np.float64]:
        array[0] = value
        return array

    return change


BAD_QUERIES: dict[str, Callable[[Arrays], Arrays]] = {
    "no point": lambda arrays: {name: array for name, array in arrays.items() if name != "point"},
    "no noise shares": lambda arrays: {name: array for name, array in arrays.items() if name != "noise_shares"},
    "point not a number": _with("point", _set(math.nan)),
    "point infinite": _with("point", _set(math.inf)),
    "point so far that logits overflow": _with("point", _set(1e308)),
    "point too long": _with("point", lambda point: np.append(point, 0.0)),
    "point empty": _with("point", lambda point: point[:0]),
    "point of two dimensions": _with("point", lambda point: point[None]),
    "marginals not a number": _with("marginals", _set(math.nan)),
    "marginals so large that bins overflow": _with("marginals", _set(1e308)),
    "marginals too short": _with("marginals", lambda total: total[:-1]),
    "marginals of two dimensions": _with("marginals", lambda total: total[None]),
    "no noise in the marginals": _with("noise_shares", lambda shares: shares * 0),
    "negative noise shares": _with("noise_shares", lambda shares: -shares),
    "two noise shares": _with("noise_shares", lambda shares: np.append(shares, 1)),
    "less than one noise share": _with("noise_shares", lambda shares: shares * 0.99),
    "noise shares that are no number": _with("noise_shares", _set(math.nan)),
    "noise shares that are infinite": _with("noise_shares", _set(math.inf)),
}


@pytest.mark.parametrize("fault", BAD_QUERIES)
def test_a_bad_query_is_refused_before_any_customer_is_touched(fault: str) -> None:
    solving = solver()
    good = good_query(solving)
    solving.check_query(Query.from_arrays(good))
    with pytest.raises(InvalidContributionError):
        solving.check_query(Query.from_arrays(BAD_QUERIES[fault](good)))


def test_a_point_without_marginals_is_refused() -> None:
    with pytest.raises(InvalidContributionError, match="does not fit"):
        solver().check_query(Query(None, np.zeros(3)))


def test_a_cell_outside_its_grid_is_refused() -> None:
    with pytest.raises(InvalidContributionError, match="public grid"):
        solver().sum_marginals(np.array([[0, 33, 0]], dtype=np.int16), np.array([1], dtype=np.int8))


def test_a_sum_of_another_shape_is_refused() -> None:
    solving = solver()
    state = solving.advance(solving.start(), released_marginals(solving).total, 1)
    with pytest.raises(InvalidContributionError, match="shape"):
        solving.advance(state, np.zeros(state.weights.size + 1), 1)


def distributed(most: int = 1, brands: int | None = 5) -> AcceleratedAdditive:
    return replace(
        solver(rounds=4), brands_per_customer=most, distributed=True, brands=brands, dropouts=1, colluders=1
    )


def test_the_clip_is_divided_where_one_sum_is_opened() -> None:
    """A customer at m brands has 1/m of the clip at each; apart, the noise at each grows instead."""
    people, _ = customers(60, seed=5)
    marginals = released_marginals(solver())
    moved = {}
    for most in (1, 2, 4):
        together = distributed(most)
        assert together.brand_clip_norm == 0.5 / most
        query = Query(marginals, np.full(together.feature_map(marginals).dimension, 30.0))
        moved[most] = max(
            np.linalg.norm(
                Trainer(together).exact_sum(
                    query, Contribution(people.cells[:1], label), cohort=label.tobytes().hex()
                )
            )
            for label in (np.zeros(1, np.int8), np.ones(1, np.int8))
        )
        apart = replace(solver(), brands_per_customer=most)
        assert apart.brand_clip_norm == 0.5
        assert apart.mechanism(None).standard_deviation == pytest.approx(
            math.sqrt(most) * solver().mechanism(None).standard_deviation
        )
        assert together.mechanism(None).standard_deviation == pytest.approx(
            most * distributed().mechanism(None).standard_deviation
        )
    assert moved[2] == pytest.approx(moved[1] / 2, rel=1e-3)
    assert moved[4] == pytest.approx(moved[1] / 4, rel=1e-3)


def test_noise_is_shared_among_the_known_brands_of_a_distributed_run_alone() -> None:
    marginals = released_marginals(solver())
    for chosen in (None, marginals):
        shares = distributed().shares(chosen)
        mechanism = distributed().mechanism(chosen)
        assert (shares.brands, shares.dropouts, shares.colluders) == (5, 1, 1)
        assert math.sqrt(shares.variance_of(3)) * mechanism.grid >= mechanism.standard_deviation
        assert math.sqrt(shares.variance_of(3)) * mechanism.grid < mechanism.standard_deviation * 1.0001
    for wrong in (solver(), distributed(brands=None), distributed(brands=2)):
        with pytest.raises(InvalidContributionError):
            wrong.shares(None)


def test_no_noised_sum_passes_the_largest_one() -> None:
    """With customers at the edge of their size class, all alike, and noise at six of its deviations."""
    solving = distributed(brands=3)
    solving = replace(solving, dropouts=0)
    size_class, marginals = 64, released_marginals(solving)
    people = Contribution(np.zeros((127, 3), dtype=np.int16), np.ones(127, dtype=np.int8))
    far = np.full(solving.feature_map(marginals).dimension, 30.0)
    for query in (Query(None, np.zeros(0)), Query(marginals, far)):
        mechanism = solving.mechanism(query.marginals)
        exact = mechanism.to_grid(Trainer(solving).exact_sum(query, people, cohort="alike"))
        noise = 6 * math.sqrt(solving.shares(query.marginals).variance_of(3))
        largest = solving.largest_sum(query.marginals, size_class=size_class, brands=3)
        assert 3 * np.max(np.abs(exact)) + noise <= largest
        assert largest < 3 * 2 * size_class / mechanism.grid + 3 + 2 * noise
    assert solving.largest_sum(None, size_class=0, brands=3) < solving.largest_sum(None, size_class=1, brands=3)


def test_a_share_of_noise_that_is_no_whole_number_is_kept_exactly() -> None:
    solving = distributed()
    total = released_marginals(solving).total
    for shares, kind in ((4 / 3, np.float64), (2.0, np.int64), (3, np.int64)):
        state = solving.advance(solving.start(), total, shares)
        arrays = state.to_arrays()
        assert arrays["noise_shares"].dtype == kind
        again = SolverState.from_arrays(arrays)
        assert again.marginals is not None
        assert again.marginals.noise_shares == shares
        assert arrays_digest(again.to_arrays()) == arrays_digest(arrays)
        assert Query.from_arrays(solving.query(state).to_arrays()).marginals.noise_shares == shares  # type: ignore[union-attr]


def test_more_noise_in_a_sum_shrinks_more() -> None:
    """The ridge is in deviations of the noise that the sum had, with its root."""
    solving = distributed()
    first = solving.advance(solving.start(), released_marginals(solving).total, 1.5)
    width = first.weights.size
    second = solving.advance(first, np.full(width, 40.0), 1.5)
    steps = [
        solving.advance(second, np.zeros(width), shares).weights - second.weights - (second.weights / 4)
        for shares in (1.0, 1.5, 4.0)
    ]
    norms = [float(np.linalg.norm(step)) for step in steps]
    assert norms[1] == pytest.approx(norms[0] * math.sqrt(1.5))
    assert norms[2] == pytest.approx(norms[0] * 2)


def test_a_digest_fixes_names_kinds_shapes_and_numbers() -> None:
    base = {"a": np.arange(6, dtype=np.float64), "b": np.arange(2, dtype=np.int64)}
    others: list[Arrays] = [
        {"a": base["a"], "c": base["b"]},
        {"a": base["a"].reshape(2, 3), "b": base["b"]},
        {"a": base["a"].astype(np.int64), "b": base["b"]},
        {"a": np.nextafter(base["a"], 9.0), "b": base["b"]},
        {"a": base["a"]},
    ]
    digests = {arrays_digest(arrays) for arrays in [base, *others]}
    assert len(digests) == 1 + len(others)
    assert arrays_digest({"b": base["b"], "a": base["a"]}) == arrays_digest(base)
    for kind in ("float32", ">f8", "int32", "bool"):
        with pytest.raises(TypeError, match="only float64 and int64"):
            arrays_digest({"a": np.zeros(1, dtype=kind)})
