"""The secure sum equals the plain sum, whatever is summed and whoever drops out at whichever step."""

import hashlib
import secrets
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from secure_run import context_of, restarted, secure_run

from privacy.errors import SecureSumError, TooFewBrandsError
from privacy.secure_sum import Member, Opener, Ring, Scheme, Unmasking, UnmaskRequest
from privacy.secure_sum.shamir import reconstruct, share

MOMENTS = ("advertised", "shared", "received", "masked", "helped")


class Situation(NamedTuple):
    """Who sums what, who fails before, between and after the phases, who is restarted when, and in which ring."""

    scheme: Scheme
    values: dict[str, np.ndarray]
    away: set[str]
    lost: set[str]
    silent: set[str]
    restarts: set[tuple[str, str]]
    ring: Ring


@st.composite
def schemes(draw: st.DrawFn) -> Scheme:
    brands = draw(st.integers(3, 9))
    colluding = draw(st.integers(0, brands - 1))
    dropouts = draw(st.integers(0, brands - 1))
    names = tuple(f"brand-{number}" for number in range(brands))
    try:
        return Scheme(hashlib.sha256(b"run").digest(), names, colluding, dropouts, slots=2)
    except SecureSumError:
        assert (brands + colluding) // 2 + 1 > brands - dropouts
        reject()


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    scheme = draw(schemes())
    everyone = list(scheme.brands)
    away = draw(st.sets(st.sampled_from(everyone), max_size=scheme.dropouts))
    asked = [name for name in everyone if name not in away]
    lost = draw(st.sets(st.sampled_from(asked), max_size=scheme.dropouts - len(away)))
    arrived = [name for name in asked if name not in lost]
    silent = draw(st.sets(st.sampled_from(arrived), max_size=len(arrived) - scheme.threshold))
    ring = Ring(draw(st.sampled_from([32, 64])))
    limit = (2 ** (ring.bits - 1) - 1) // len(everyone)
    size = draw(st.integers(1, 5))
    numbers = st.lists(st.integers(-limit, limit), min_size=size, max_size=size)
    values = {name: np.array(draw(numbers), dtype=np.int64) for name in asked}
    restarts = draw(st.sets(st.tuples(st.sampled_from(everyone), st.sampled_from(MOMENTS))))
    return Situation(scheme, values, away, lost, silent, restarts, ring)


class Played:
    """The situation as it is played: each member is restarted where it says."""

    def __init__(self, situation: Situation) -> None:
        self.situation = situation
        self.scheme = situation.scheme
        self.members = {name: Member(self.scheme, name, secrets.token_bytes) for name in self.scheme.brands}
        self.present = frozenset(situation.values)
        self.arrived = self.present - situation.lost

    def reached(self, moment: str) -> None:
        for brand, when in self.situation.restarts:
            if when == moment:
                self.members[brand] = restarted(self.scheme, brand, self.members[brand])

    def set_up(self) -> Opener:
        advertised = [member.advertise() for member in self.members.values()]
        self.reached("advertised")
        assert advertised == [member.advertise() for member in self.members.values()]
        sealed = [one for member in self.members.values() for one in member.share(advertised)]
        self.reached("shared")
        assert sealed == [one for member in self.members.values() for one in member.share(advertised)]
        for name, member in self.members.items():
            member.receive([one for one in sealed if one.receiver == name])
        self.reached("received")
        return Opener(self.scheme, advertised)

    def masked(self) -> dict[str, np.ndarray]:
        terms = {"slot": 1, "context": context_of(1), "ring": self.situation.ring, "present": self.present}
        sent = {name: self.members[name].mask(self.situation.values[name], **terms) for name in self.present}
        self.reached("masked")
        return {name: vector for name, vector in sent.items() if name in self.arrived}

    def helped(self, request: UnmaskRequest) -> list[Unmasking]:
        helpers = sorted(self.arrived - self.situation.silent)
        answers = [self.members[name].unmask(request) for name in helpers]
        self.reached("helped")
        assert answers == [self.members[name].unmask(request) for name in helpers]
        return answers


@settings(max_examples=80, deadline=None)
@given(situations())
def test_the_secure_sum_is_the_plain_sum_of_who_arrived(situation: Situation) -> None:
    played = Played(situation)
    opener = played.set_up()
    masked = played.masked()
    request = opener.request(slot=1, context=context_of(1), present=played.present, arrived=played.arrived)
    opened = opener.open(request, masked, played.helped(request), situation.ring)
    assert np.array_equal(opened, sum(situation.values[name] for name in played.arrived))


@settings(max_examples=60, deadline=None)
@given(situations(), st.data())
def test_after_any_restart_a_member_masks_and_opens_as_it_would_have(
    situation: Situation, data: st.DataObject
) -> None:
    """The twin that was never stopped, and one that was stopped before each step, say the same."""
    played = Played(situation._replace(restarts=set()))
    opener = played.set_up()
    brand = data.draw(st.sampled_from(sorted(played.arrived)))
    twin = restarted(played.scheme, brand, played.members[brand])
    terms = {"slot": 1, "context": context_of(1), "ring": situation.ring, "present": played.present}
    assert np.array_equal(twin.mask(situation.values[brand], **terms), played.masked()[brand])
    twin = restarted(played.scheme, brand, twin)
    request = opener.request(slot=1, context=context_of(1), present=played.present, arrived=played.arrived)
    first = played.members[brand].unmask(request)
    assert twin.unmask(request) == first
    twin = restarted(played.scheme, brand, twin)
    assert twin.unmask(request) == first
    assert twin.slot(1) == played.members[brand].slot(1)
    with pytest.raises(SecureSumError, match="opened"):
        twin.mask(situation.values[brand], **terms)
    fewer = played.arrived - {data.draw(st.sampled_from(sorted(played.arrived)))}
    with pytest.raises(SecureSumError, match="opened"):
        twin.unmask(replace(request, arrived=fewer, missing=played.present - fewer))


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
