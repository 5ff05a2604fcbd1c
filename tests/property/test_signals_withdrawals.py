"""No string and no header turns a withdrawal into a grant, unless a sound string was created strictly later."""

from dataclasses import replace
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from depth import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from signal_values import gpp_strings, tc_strings
from signal_world import BRAND, OTHER, PURPOSE, STRING, act, declare, pseudonym

from consent.contract import Act, DecisionQuery
from consent.errors import ConsentError, ConsentStringError
from consent.signals import GppString, decode_gpp_string, decode_tc_string, encode_gpp_string, encode_tc_string

DECISECOND = timedelta(milliseconds=100)
STEPS = st.integers(-30, 3)
"""When a string says that it was created, in tenths of a second from now."""
GAPS = st.integers(0, 20)
"""How many tenths of a second pass before a move."""
SOUND = st.builds(
    lambda kind, purposes, manager, step: (
        kind,
        replace(STRING, purposes_consent=purposes, cmp_id=manager),
        step,
    ),
    st.sampled_from(["sound", "wrapped"]),
    st.sampled_from([frozenset({1, 4, 10}), frozenset({1, 4}), frozenset({4, 10})]),
    st.sampled_from([31, 31, 31, 32]),
    STEPS,
)
CHOICE = st.tuples(st.just("choice"), st.sampled_from(Act), st.sampled_from([PURPOSE, OTHER]))
STRINGS = st.one_of(
    st.tuples(st.just("tcf"), tc_strings(highest=60).map(encode_tc_string), st.none()),
    st.tuples(st.just("gpp"), gpp_strings().map(encode_gpp_string), st.none()),
    st.tuples(st.sampled_from(["tcf", "gpp"]), st.text(max_size=60), st.none()),
    st.tuples(st.just("damaged"), st.integers(0, 200), st.sampled_from("AZ-._~!")),
)
GPC = st.tuples(st.just("gpc"), st.lists(st.sampled_from(["1", "0", " 1", "true", ""]), max_size=3), st.none())
MOVES = st.tuples(GAPS, CHOICE | CHOICE | SOUND | SOUND | GPC | STRINGS)


@pytest.fixture
def world(consent_world: Any) -> Any:
    declare(consent_world)
    return consent_world


def decisions(world: Any, subject: str) -> dict[str, tuple[bool, str]]:
    queries = [DecisionQuery(brand=BRAND, subject=subject, purpose=purpose) for purpose in (PURPOSE, OTHER)]
    found = world.brand(BRAND).decide(queries)
    return {query.purpose: (one.allowed, one.reason.value) for query, one in zip(queries, found, strict=True)}


def send(world: Any, subject: str, kind: str, one: Any, other: Any) -> str | None:
    """Make one move; return the string that was sent, if any."""
    brand = world.brand(BRAND)
    if kind == "gpc":
        brand.honour_gpc(BRAND, subject, one)
        return None
    if kind in ("sound", "wrapped"):
        moment = world.clock.now + other * DECISECOND
        tc = replace(one, created=moment, last_updated=moment)
        one = encode_tc_string(tc) if kind == "sound" else encode_gpp_string(GppString(tcf_eu=tc))
    if kind == "damaged":
        whole = encode_tc_string(STRING)
        one = whole[: one % len(whole)] + other + whole[one % len(whole) + 1 :]
    (brand.import_gpp if kind in ("gpp", "wrapped") else brand.import_tcf)(BRAND, subject, one)
    return str(one)


def created(text: str) -> Any:
    try:
        return decode_tc_string(text).created
    except ConsentStringError:
        tcf_eu = decode_gpp_string(text).tcf_eu
        assert tcf_eu is not None
        return tcf_eu.created


NUMBERS = count()


@settings(max_examples=examples(25, 60), deadline=None, suppress_health_check=list(HealthCheck))
@given(moves=st.lists(MOVES, min_size=2, max_size=8))
def test_a_withdrawal_is_undone_by_later_consent_alone(
    world: Any, moves: list[tuple[int, tuple[str, Any, Any]]]
) -> None:
    subject = pseudonym(f"customer {next(NUMBERS)}")
    withdrawn: dict[str, Any] = {}
    for gap, (kind, one, other) in moves:
        world.clock.now += gap * DECISECOND
        before = decisions(world, subject)
        if kind == "choice":
            fields = (
                {"purpose": other} if one is Act.WITHDRAW else {"purpose": other, "notice": world.notices[other]}
            )
            act(world, subject, one, f"{subject} {next(NUMBERS)}", **fields)
            if one is Act.WITHDRAW:
                withdrawn[other] = world.clock.now
            continue
        try:
            text = send(world, subject, kind, one, other)
        except ConsentError:
            text = None
        for purpose, (now, reason) in decisions(world, subject).items():
            if now and not before[purpose][0]:
                assert text is not None
                assert created(text) <= world.clock.now
                assert purpose not in withdrawn or created(text) > withdrawn[purpose]
                assert before[purpose][1] != "withdrawn" or purpose in withdrawn
            if reason == "withdrawn" and before[purpose][1] != "withdrawn":
                withdrawn[purpose] = world.clock.now
