"""Consent strings survive a round trip; damaged ones raise one error, and grant nothing that was not there."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from signal_values import gpp_strings, tc_strings, us_nationals, vendor_ids

from consent.errors import ConsentStringError
from consent.signals import (
    GPC_OPT_OUTS,
    GppString,
    OptOut,
    OptOutMapping,
    TcfMapping,
    TcIssuer,
    TcString,
    UsNational,
    VendorSet,
    conflicting_grants,
    decode_gpp_string,
    decode_tc_string,
    encode_gpp_string,
    encode_tc_string,
    ended_purposes,
    granted_purposes,
    opt_outs,
    tc_string_of,
    us_national_of,
)
from consent.signals.bits import ALPHABET

VENDOR = 42
CMP = 31
NAMES = ("ads", "analytics", "churn", "conversion")
MAPPING = TcfMapping(
    vendor=VENDOR,
    cmps=(CMP,),
    purposes={"ads": (1, 4), "analytics": (1, 8), "churn": (10,), "conversion": (1, 3, 10)},
)
ISSUER = TcIssuer(
    cmp_id=CMP,
    cmp_version=1,
    consent_screen=1,
    consent_language="EN",
    vendor_list_version=100,
    publisher_country="DE",
)
PURPOSES_CONSENT = range(152, 176)
"""Positions of the bits of PurposesConsent in the core: what comes before takes 152 bits."""
PURPOSE_ONE_TREATMENT = 200
CONSENT_BITS = {*PURPOSES_CONSENT, PURPOSE_ONE_TREATMENT}
VENDOR_SECTIONS = 213
"""Position of the first bit of the vendor sections: from there on, a bit may move the borders of fields."""


def usable(value: TcString) -> TcString:
    """The same string by a consent manager that counts, with our vendor disclosed and consented to."""
    ours = VendorSet.of([VENDOR])
    vendors = VendorSet.of({*value.vendors_consent, *ours})
    disclosed = VendorSet.of({*value.disclosed_vendors, *ours})
    return replace(value, cmp_id=CMP, policy_version=5, vendors_consent=vendors, disclosed_vendors=disclosed)


def granted(text: str) -> set[str]:
    """What a text grants; nothing where it is refused."""
    try:
        value = decode_tc_string(text)
    except ConsentStringError:
        return set()
    return {name for name, is_granted in granted_purposes(value, MAPPING).items() if is_granted}


def gpp_or_nothing(text: str) -> GppString:
    """The text's sections; none where it is refused."""
    try:
        return decode_gpp_string(text)
    except ConsentStringError:
        return GppString()


def flipped(text: str, bit: int) -> str:
    """The text with one bit of its base64url flipped; a dot stays where it is."""
    index, place = divmod(bit, 6)
    if text[index] in ".~":
        return text
    value = ALPHABET.index(text[index]) ^ (32 >> place)
    return f"{text[:index]}{ALPHABET[value]}{text[index + 1 :]}"


@given(tc_strings(highest=65_535))
@settings(deadline=None)
def test_tc_strings_survive_a_round_trip(value: TcString) -> None:
    assert decode_tc_string(encode_tc_string(value)) == value


@given(gpp_strings())
@settings(deadline=None)
def test_gpp_strings_survive_a_round_trip(value: GppString) -> None:
    assert decode_gpp_string(encode_gpp_string(value)) == value


@given(vendor_ids(65_535))
def test_vendor_sets_hold_their_ids(ids: frozenset[int]) -> None:
    vendors = VendorSet.of(ids)
    assert list(vendors) == sorted(ids)
    assert all((vendor in vendors) == (vendor in ids) for vendor in {1, 65_535} | {item + 1 for item in ids})


@given(st.text(max_size=300) | st.text([*ALPHABET, ".", "~"], max_size=300))
def test_any_text_is_a_string_or_the_one_error(text: str) -> None:
    for decode in (decode_tc_string, decode_gpp_string):
        try:
            decode(text)
        except ConsentStringError:
            continue


@given(st.binary(max_size=200))
def test_bytes_after_a_sound_beginning_are_a_string_or_the_one_error(tail: bytes) -> None:
    body = "".join(ALPHABET[byte % 64] for byte in tail)
    for text in (f"CQgYw8AQgYw8AAfACBENBkFgAMAAAAAAAAYg{body}.IAAA", f"DBAB{body}~{body}", f"DBABL~C{body}.Y"):
        for decode in (decode_tc_string, decode_gpp_string):
            try:
                decode(text)
            except ConsentStringError:
                continue


@given(tc_strings(highest=120).map(usable), st.data())
@settings(deadline=None)
def test_a_cut_string_grants_nothing_new(value: TcString, data: st.DataObject) -> None:
    text = encode_tc_string(value)
    cut = data.draw(st.integers(0, len(text) - 1))
    assert granted(text[:cut]) <= granted(text)
    assert granted(text[cut:]) <= granted(text)
    assert granted(text[:cut] + text[cut + 1 :]) <= granted(text)


@given(tc_strings(highest=120).map(usable), st.data())
@settings(deadline=None)
def test_a_flipped_bit_outside_consents_grants_nothing_new(value: TcString, data: st.DataObject) -> None:
    """Any bit before the vendor sections but those of CONSENT_BITS, and any bit of the publisher's segment.

    Within the vendor sections a flip can be a consent, or move the border of one: nothing in a TC string would
    tell, since it carries no signature.
    """
    text = encode_tc_string(value)
    core, disclosed, *publisher = text.split(".")
    before = st.integers(0, VENDOR_SECTIONS - 1).filter(lambda bit: bit not in CONSENT_BITS)
    # One character names the segment's type: another type would make it the second of its kind, or an unknown.
    start = 6 * (len(core) + len(disclosed) + 2)
    after = [st.integers(start, 6 * len(text) - 1)] if publisher else []
    bit = data.draw(st.one_of(before, *after))
    assert granted(flipped(text, bit)) <= granted(text)


@given(tc_strings(highest=120).map(usable), st.sampled_from(PURPOSES_CONSENT))
@settings(deadline=None)
def test_a_flipped_purpose_touches_what_needs_it_alone(value: TcString, bit: int) -> None:
    text = encode_tc_string(value)
    purpose = bit - PURPOSES_CONSENT.start + 1
    needing = {name for name, needed in MAPPING.purposes.items() if purpose in needed}
    assert granted(flipped(text, bit)) ^ granted(text) <= needing


@given(tc_strings(highest=120).map(usable), st.data())
@settings(deadline=None)
def test_any_flipped_bit_is_a_string_or_the_one_error(value: TcString, data: st.DataObject) -> None:
    text = encode_tc_string(value)
    damaged = flipped(text, data.draw(st.integers(0, 6 * len(text) - 1)))
    try:
        again = encode_tc_string(decode_tc_string(damaged))
    except ConsentStringError:
        return
    assert decode_tc_string(again) == decode_tc_string(damaged)


@given(gpp_strings(), tc_strings(highest=120).map(usable), st.data())
@settings(deadline=None)
def test_a_damaged_gpp_string_is_a_string_or_the_one_error(
    value: GppString, tcf_eu: TcString, data: st.DataObject
) -> None:
    """Cut anywhere, it grants nothing new; with any bit flipped it can still be written again, or is refused."""
    text = encode_gpp_string(replace(value, tcf_eu=tcf_eu))
    cut = data.draw(st.integers(0, len(text) - 1))
    before = granted_purposes(tcf_eu, MAPPING)
    for damaged in (text[:cut], text[cut:], text[:cut] + text[cut + 1 :]):
        after = granted_purposes(gpp_or_nothing(damaged).tcf_eu, MAPPING)
        assert all(before[name] for name, is_granted in after.items() if is_granted)
    read = gpp_or_nothing(flipped(text, data.draw(st.integers(0, 6 * len(text) - 1))))
    assert decode_gpp_string(encode_gpp_string(read)) == read


@given(tc_strings(highest=120).map(usable), st.sampled_from(NAMES))
@settings(deadline=None)
def test_legitimate_interest_is_no_consent(value: TcString, name: str) -> None:
    needed = set(MAPPING.purposes[name])
    moved = replace(
        value,
        purposes_consent=value.purposes_consent - needed,
        purposes_legitimate_interest=value.purposes_legitimate_interest | needed,
        vendors_legitimate_interest=VendorSet.of([VENDOR]),
    )
    assert not granted_purposes(moved, MAPPING)[name]


@given(
    st.dictionaries(
        st.sampled_from(NAMES), st.lists(st.integers(1, 11), min_size=1, max_size=4).map(tuple), min_size=1
    ),
    st.frozensets(st.sampled_from(NAMES)),
)
def test_an_exported_tc_string_never_grants_more_than_was_stored(
    purposes: dict[str, tuple[int, ...]], stored: frozenset[str]
) -> None:
    mapping = TcfMapping(vendor=VENDOR, cmps=(CMP,), purposes=purposes)
    day = decode_tc_string(encode_tc_string(SOUND)).created.date()
    value = tc_string_of(stored, mapping, ISSUER, day=day, disclosed=VendorSet.of([VENDOR]))
    read = granted_purposes(decode_tc_string(encode_tc_string(value)), mapping)
    assert {name for name, is_granted in read.items() if is_granted} <= stored


@given(st.frozensets(st.sampled_from(NAMES)))
def test_an_exported_tc_string_grants_what_was_stored(stored: frozenset[str]) -> None:
    """Where each purpose of ours needs a TCF purpose that no other does."""
    mapping = TcfMapping(
        vendor=VENDOR, cmps=(CMP,), purposes={name: (1, 2 + index) for index, name in enumerate(NAMES)}
    )
    value = tc_string_of(stored, mapping, ISSUER, day=SOUND.created.date(), disclosed=VendorSet.of([VENDOR]))
    assert granted_purposes(value, mapping) == {name: name in stored for name in NAMES}


@given(
    st.dictionaries(
        st.sampled_from(NAMES), st.lists(st.sampled_from(OptOut), min_size=1, max_size=3).map(tuple), min_size=1
    ),
    st.frozensets(st.sampled_from(NAMES)),
    st.booleans(),
)
def test_an_exported_usnat_section_ends_all_that_was_withdrawn(
    purposes: dict[str, tuple[OptOut, ...]], withdrawn: frozenset[str], gpc: bool
) -> None:
    mapping = OptOutMapping(purposes=purposes)
    section = us_national_of(withdrawn, mapping, gpc=gpc)
    read = opt_outs(decode_gpp_string(encode_gpp_string(GppString(us_national=section))))
    assert ended_purposes(read, mapping) >= withdrawn & purposes.keys()
    assert not gpc or (read == GPC_OPT_OUTS and ended_purposes(read, mapping) == purposes.keys())
    if not withdrawn and not gpc:
        assert read == frozenset()


@given(us_nationals(), st.frozensets(st.sampled_from(NAMES)))
def test_an_opt_out_never_grants(section: UsNational, stored: frozenset[str]) -> None:
    mapping = OptOutMapping(purposes={"ads": (OptOut.SALE,), "churn": (OptOut.TARGETED_ADVERTISING,)})
    found = opt_outs(GppString(us_national=section))
    assert conflicting_grants(found, stored, mapping) <= stored
    assert granted_purposes(GppString(us_national=section).tcf_eu, MAPPING) == dict.fromkeys(NAMES, False)
    if section.gpc:
        assert found == GPC_OPT_OUTS


SOUND = decode_tc_string("CQgYw8AQgYw8AAfACBENBkFgAMAAAAAAAAYgGQQAoAAgAGAyAAAAAIQACAAc.IHBwAYAAgcG")


def test_the_longest_string_is_the_limit() -> None:
    with pytest.raises(ConsentStringError, match="at most"):
        decode_tc_string("A" * 16_385)
    every_other = VendorSet.of(range(1, 65_535, 2))
    with pytest.raises(ConsentStringError, match="at most"):
        encode_tc_string(replace(SOUND, vendors_consent=every_other, disclosed_vendors=every_other))
