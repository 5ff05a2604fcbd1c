"""Strict reading of TC and GPP strings: each way of being malformed is refused and grants nothing."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from consent.errors import ConsentStringError, InvalidRequestError
from consent.signals import (
    GppString,
    PublisherRestriction,
    PublisherTc,
    RestrictionType,
    TcString,
    UsNational,
    VendorSet,
    decode_gpp_string,
    decode_tc_string,
    encode_gpp_string,
    encode_tc_string,
)
from consent.signals.bits import BitWriter

DAY = datetime(2026, 3, 1, tzinfo=UTC)
SOUND = TcString(
    created=DAY,
    last_updated=DAY,
    cmp_id=31,
    cmp_version=2,
    consent_screen=1,
    consent_language="EN",
    vendor_list_version=100,
    policy_version=5,
    purposes_consent=frozenset({1, 2}),
    publisher_country="DE",
    vendors_consent=VendorSet.of([1, 2, 3]),
    disclosed_vendors=VendorSet.of([1, 2, 3]),
    publisher_tc=PublisherTc(purposes_consent=frozenset({1})),
)
CORE, DISCLOSED, PUBLISHER = encode_tc_string(SOUND).split(".")


def bits(*fields: str) -> str:
    writer = BitWriter()
    for field in fields:
        writer.put(field.replace(" ", ""))
    return writer.text()


def vendors(*fields: str) -> str:
    """A whole string whose disclosed vendors read as these bits."""
    return f"{CORE}.{bits('001', *fields)}"


def restricted(*fields: str) -> str:
    """A whole string whose publisher restrictions read as these bits."""
    head = "".join(f"{value:06b}" for value in map(ALPHABET.index, encode_tc_string(SOUND).split(".")[0]))
    no_vendors = "0" * 17
    return f"{bits(head[:213], no_vendors, no_vendors, *fields)}.{DISCLOSED}"


ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
ID_1, ID_2, ID_5 = f"{1:016b}", f"{2:016b}", f"{5:016b}"
MALFORMED = {
    "nothing": "",
    "a dot": ".",
    "an empty segment": f"{CORE}..{DISCLOSED}",
    "a space": f" {CORE}.{DISCLOSED}",
    "a line feed": f"{CORE}.{DISCLOSED}\n",
    "padding of base64": f"{CORE}.{DISCLOSED}=",
    "standard base64": f"{CORE[:-1]}+.{DISCLOSED}",
    "digits that are not ASCII": f"{CORE[:-1]}\u0661.{DISCLOSED}",
    "version 1": f"B{CORE[1:]}.{DISCLOSED}",
    "version 3": f"D{CORE[1:]}.{DISCLOSED}",
    "a language of no letters": f"{CORE[:18]}_{CORE[19:]}.{DISCLOSED}",
    "no disclosed vendors": CORE,
    "only the publisher besides": f"{CORE}.{PUBLISHER}",
    "disclosed vendors twice": f"{CORE}.{DISCLOSED}.{DISCLOSED}",
    "the core twice": f"{CORE}.{CORE}.{DISCLOSED}",
    "allowed vendors, which 2.3 has not": f"{CORE}.{DISCLOSED}.{bits('010', ID_1, '0', '1')}",
    "a segment that nobody knows": f"{CORE}.{DISCLOSED}.{bits('111', ID_1, '0', '1')}",
    "the core not first": f"{DISCLOSED}.{CORE}",
    "a core cut short": f"{CORE[:-2]}.{DISCLOSED}",
    "one character too many": f"{CORE}.{DISCLOSED}A",
    "four characters too many": f"{CORE}.{DISCLOSED}AAAA",
    "ones in the padding": f"{CORE}.{bits('001', ID_1, '0', '1', '001')}",
    "fewer bits than vendors": vendors(ID_5, "0", "1"),
    "a range beyond the highest id": vendors(ID_2, "1", "000000000001", "0", ID_5),
    "a range backwards": vendors(ID_5, "1", "000000000001", "1", ID_5, ID_1),
    "a range of one": vendors(ID_5, "1", "000000000001", "1", ID_5, ID_5),
    "ranges out of order": vendors(ID_5, "1", "000000000010", "0", ID_5, "0", ID_1),
    "ranges that overlap": vendors(ID_5, "1", "000000000010", "1", ID_1, ID_5, "0", ID_2),
    "vendor 0": vendors(ID_5, "1", "000000000001", "0", "0" * 16),
    "fewer ranges than stated": vendors(ID_5, "1", "000000000010", "0", ID_1),
    "a restriction of type 3": restricted("000000000001", "000010", "11", "000000000001", "0", ID_1),
    "a restriction of purpose 0": restricted("000000000001", "000000", "00", "000000000001", "0", ID_1),
    "a restriction of purpose 25": restricted("000000000001", "011001", "00", "000000000001", "0", ID_1),
    "a restriction of nobody": restricted("000000000001", "000010", "00", "000000000000"),
    "a restriction twice": restricted("000000000010", *["000010", "00", "000000000001", "0", ID_1] * 2),
    "the global scope": f"{bits(''.join(f'{ALPHABET.index(c):06b}' for c in CORE)[:138], '0' * 121)}.{DISCLOSED}",
}
OUT_OF_RANGE = {
    "a CMP of 13 bits": {"cmp_id": 4_096},
    "a negative screen": {"consent_screen": -1},
    "a language in lower case": {"consent_language": "en"},
    "a country of three letters": {"publisher_country": "DEU"},
    "purpose 25": {"purposes_consent": frozenset({25})},
    "purpose 0": {"purposes_consent": frozenset({0})},
    "a time before 1970": {"created": datetime(1969, 12, 31, tzinfo=UTC)},
    "a time between tenths": {"last_updated": DAY + timedelta(microseconds=1)},
    "an update before the creation": {"created": DAY + timedelta(days=1)},
    "a custom purpose that was not counted": {
        "publisher_tc": PublisherTc(custom_purposes=1, custom_consent=frozenset({2}))
    },
    "a restriction of nobody": {
        "publisher_restrictions": (
            PublisherRestriction(purpose=1, kind=RestrictionType.NOT_ALLOWED, vendors=VendorSet()),
        )
    },
}
GPP = encode_gpp_string(GppString(us_national=UsNational(gpc=True), opaque=((6, "1YNN"),)))
HEADER, USP, NATIONAL = GPP.split("~")
MALFORMED_GPP = {
    "nothing": "",
    "a TC string": f"{CORE}.{DISCLOSED}",
    "type 4": f"E{HEADER[1:]}~{USP}~{NATIONAL}",
    "version 2": f"DC{HEADER[2:]}~{USP}~{NATIONAL}",
    "a section missing": f"{HEADER}~{NATIONAL}",
    "a section too many": f"{GPP}~{USP}",
    "an empty section": f"{HEADER}~~{NATIONAL}",
    "a section of other characters": f"{HEADER}~1 NN~{NATIONAL}",
    "a header that never ends": f"DBAB{'A' * 8}~{USP}",
    "a range of thousands": f"{bits('000011', '000001', '000000000001', '1', '11', '0000000000000000011')}~{USP}",
    "a section beyond all": f"{bits('000011', '000001', '000000000001', '0', '1', '0' * 30, '11')}~a",
    "usnat of version 3": f"{HEADER}~{USP}~D{NATIONAL[1:]}",
    "usnat of version 0": f"{HEADER}~{USP}~A{NATIONAL[1:]}",
    "usnat cut short": f"{HEADER}~{USP}~{NATIONAL.split('.')[0][:-1]}",
    "usnat with an answer of 3": f"{HEADER}~{USP}~CD{NATIONAL[2:]}",
    "usnat with two sub-sections": f"{HEADER}~{USP}~{NATIONAL}.Y",
    "usnat with another sub-section": f"{HEADER}~{USP}~{NATIONAL.split('.')[0]}.A",
    "usnat that does not say if it is covered": f"{HEADER}~{USP}~CAAAAAAAAAAA",
    "a TC string without disclosed vendors": f"DBABM~{CORE}",
    "more than the longest": f"{HEADER}~{'1' * 32_768}~{NATIONAL}",
}


@pytest.mark.parametrize("text", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_tc_string_is_refused(text: str) -> None:
    with pytest.raises(ConsentStringError) as refusal:
        decode_tc_string(text)
    assert CORE not in str(refusal.value)
    assert isinstance(refusal.value, InvalidRequestError)


@pytest.mark.parametrize("fields", OUT_OF_RANGE.values(), ids=OUT_OF_RANGE)
def test_a_value_out_of_range_is_not_written(fields: dict[str, object]) -> None:
    with pytest.raises(ConsentStringError):
        encode_tc_string(replace(SOUND, **fields))  # type: ignore[arg-type]


@pytest.mark.parametrize("text", MALFORMED_GPP.values(), ids=MALFORMED_GPP)
def test_a_malformed_gpp_string_is_refused(text: str) -> None:
    with pytest.raises(ConsentStringError):
        decode_gpp_string(text)


def test_sound_neighbours_of_the_malformed_are_read() -> None:
    """What the tables above change is what they are refused for."""
    assert decode_tc_string(f"{CORE}.{DISCLOSED}.{PUBLISHER}") == SOUND
    assert decode_tc_string(f"{CORE}.{PUBLISHER}.{DISCLOSED}") == SOUND
    assert decode_tc_string(vendors(ID_5, "1", "000000000001", "1", ID_1, ID_5)).disclosed_vendors == VendorSet(
        ((1, 5),)
    )
    one = decode_tc_string(restricted("000000000001", "000010", "00", "000000000001", "0", ID_1))
    assert one.publisher_restrictions[0].purpose == 2
    assert decode_gpp_string(GPP).opaque == ((6, "1YNN"),)
    assert decode_gpp_string(f"DBABM~{CORE}.{DISCLOSED}").tcf_eu == replace(SOUND, publisher_tc=None)


@pytest.mark.parametrize(
    ("characters", "sound"), [(4, False), (5, True), (6, True), (7, False), (8, True), (9, False), (12, False)]
)
def test_each_padding_in_use_is_read_and_no_other(characters: int, sound: bool) -> None:
    """Twenty-seven bits end after five characters, at a byte after six, at four characters after eight."""
    segment = bits("001", f"{7:016b}", "0", "1111111").ljust(characters, "A")[:characters]
    if sound:
        assert decode_tc_string(f"{CORE}.{segment}").disclosed_vendors == VendorSet(((1, 7),))
    else:
        with pytest.raises(ConsentStringError):
            decode_tc_string(f"{CORE}.{segment}")


def test_a_section_of_another_id_is_kept_as_it_came() -> None:
    value = GppString(opaque=((5, "CPXxRfAPXxRfAAfKABENB-CgAAAAAAAAAAYgAAAAAAAA"), (6, "1YNN"), (4_095, "x")))
    assert decode_gpp_string(encode_gpp_string(value)) == value


@pytest.mark.parametrize(
    "opaque",
    [((7, "a"),), ((6, "1" * 32_768),), ((6, "a"), (5, "b")), ((6, "a"), (6, "b")), ((6, ""),), ((0, "a"),)],
)
def test_sections_that_can_not_be_are_not_written(opaque: tuple[tuple[int, str], ...]) -> None:
    with pytest.raises(ConsentStringError):
        encode_gpp_string(GppString(opaque=opaque))


@pytest.mark.parametrize(
    "section",
    [
        UsNational(version=1),
        UsNational(version=3),
        UsNational(sale_opt_out=3),
        UsNational(mspa_covered_transaction=0),
    ],
)
def test_answers_that_can_not_be_are_not_written(section: UsNational) -> None:
    with pytest.raises(ConsentStringError):
        encode_gpp_string(GppString(us_national=section))
