"""The secure sum equals the plain sum, whatever is summed and whoever drops out at whichever step."""

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from secure_run import secure_run

from privacy.errors import SecureSumError, TooFewBrandsError
from privacy.secure_sum import Ring
from privacy.secure_sum.shamir import reconstruct, share


class Situation(NamedTuple):
    """Who sums what, who fails before and after sending, and in which ring."""

    brands: int
    colluding: int
    dropouts: int
    values: dict[str, np.ndarray]
    after: set[str]
    ring: Ring


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    brands = draw(st.integers(3, 9))
    colluding = draw(st.integers(0, brands - 3))
    dropouts = draw(st.integers(0, max(0, brands - (brands + colluding) // 2 - 1)))
    names = [f"brand-{number}" for number in range(brands)]
    before = draw(st.sets(st.sampled_from(names), max_size=dropouts))
    rest = [name for name in names if name not in before]
    after = draw(st.sets(st.sampled_from(rest), max_size=dropouts - len(before)))
    ring = Ring(draw(st.sampled_from([32, 64])))
    limit = (2 ** (ring.bits - 1) - 1) // brands
    size = draw(st.integers(1, 5))
    values = {
        name: np.array(draw(st.lists(st.integers(-limit, limit), min_size=size, max_size=size)), dtype=np.int64)
        for name in rest
    }
    return Situation(brands, colluding, dropouts, values, after, ring)


@settings(max_examples=60, deadline=None)
@given(situations())
def test_the_secure_sum_is_the_plain_sum_of_who_arrived(situation: Situation) -> None:
    brands, colluding, dropouts, values, after, ring = situation
    try:
        run = secure_run(brands, colluding=colluding, dropouts=dropouts)
    except SecureSumError:
        assert (brands + colluding) // 2 + 1 > brands - dropouts
        return
    masked = run.masked(values, ring=ring)
    request = run.request(frozenset(values))
    answers = [run.members[name].unmask(request) for name in values if name not in after]
    opened = run.opener.open(request, masked, answers, ring)
    assert np.array_equal(opened, sum(values.values()))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 12).flatmap(lambda points: st.tuples(st.just(points), st.integers(1, points))),
    st.binary(min_size=1, max_size=40),
    st.randoms(use_true_random=False),
)
def test_any_threshold_of_shares_gives_the_secret_and_fewer_are_refused(
    sizes: tuple[int, int], secret: bytes, random: object
) -> None:
    points, threshold = sizes
    original = np.frombuffer(secret, dtype=np.uint8)
    places = random.sample(range(1, 256), points)  # type: ignore[attr-defined]
    shares = dict(zip(places, share(original, threshold, places, random.randbytes), strict=True))  # type: ignore[attr-defined]
    chosen = random.sample(places, threshold)  # type: ignore[attr-defined]
    assert reconstruct({place: shares[place] for place in chosen}, threshold).tobytes() == secret
    with pytest.raises(SecureSumError):
        reconstruct({place: shares[place] for place in chosen[1:]}, threshold)


@pytest.mark.parametrize("missing", [1, 2, 3])
def test_under_the_threshold_nothing_is_opened(missing: int) -> None:
    run = secure_run(5, dropouts=2)
    values = {name: np.ones(3, dtype=np.int64) for name in run.scheme.brands}
    masked = run.masked(values)
    request = run.request(run.brands)
    answers = [run.members[name].unmask(request) for name in run.scheme.brands[missing:]]
    if len(answers) >= run.scheme.threshold:
        assert run.opener.open(request, masked, answers, Ring(32)).tolist() == [5, 5, 5]
    else:
        with pytest.raises(TooFewBrandsError):
            run.opener.open(request, masked, answers, Ring(32))
