"""How a table falls to brands: everybody once, equally or skewed, and never under the minimum cohort."""

import numpy as np
import pytest
from numpy.typing import NDArray

from simulations.errors import InputError
from simulations.split import HELD_OUT_SHARE, Split, hold_out, split_customers


def labels(count: int = 3000) -> NDArray[np.int8]:
    return (np.random.default_rng(1).random(count) < 0.25).astype(np.int8)


def split(
    kind: Split, *, count: int = 3000, brands: int = 5, minimum: int = 50, seed: int = 0
) -> NDArray[np.int64]:
    rng = np.random.default_rng(seed)
    return split_customers(labels(count), brands=brands, split=kind, minimum=minimum, rng=rng)


def test_an_iid_split_is_equal_and_random() -> None:
    assigned = split(Split.IID)
    np.testing.assert_array_equal(np.bincount(assigned), [600] * 5)
    rates = [labels()[assigned == brand].mean() for brand in range(5)]
    assert max(rates) - min(rates) < 0.1
    assert not np.array_equal(assigned, np.sort(assigned))
    assert not np.array_equal(assigned, split(Split.IID, seed=1))
    np.testing.assert_array_equal(assigned, split(Split.IID))


@pytest.mark.parametrize("seed", range(5))
def test_a_skewed_split_differs_in_size_and_base_rate_and_keeps_the_minimum(seed: int) -> None:
    assigned = split(Split.SKEW, seed=seed)
    sizes = np.bincount(assigned, minlength=5)
    assert sizes.sum() == 3000
    assert sizes.min() * (1 - HELD_OUT_SHARE) >= 50
    assert sizes.max() > 1.5 * sizes.min()
    rates = [labels()[assigned == brand].mean() for brand in range(5)]
    assert max(rates) - min(rates) > 0.1


@pytest.mark.parametrize("kind", Split)
def test_too_few_customers_for_the_minimum_cohort_are_refused(kind: Split) -> None:
    with pytest.raises(InputError, match="minimum cohort of 50"):
        split(kind, count=300, brands=5)
    split(Split.IID, count=320, brands=5)


def test_a_skew_that_can_not_keep_the_minimum_is_refused() -> None:
    with pytest.raises(InputError, match="No skewed split"):
        split(Split.SKEW, count=330, brands=5)


def test_a_fifth_is_held_out_at_random() -> None:
    first, second = (hold_out(1000, np.random.default_rng(seed)) for seed in (0, 1))
    assert first.sum() == second.sum() == 200
    assert 0 < (first & second).sum() < 100
