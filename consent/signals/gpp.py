"""GPP strings of the IAB Tech Lab: a header that lists sections, and the sections after it.

Source: "Global Privacy Platform String" 1.0. Sections that are not read here (another state's, Canada's, the old
US Privacy string) are kept as they came, and authorise nothing.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from consent.errors import ConsentStringError
from consent.signals.bits import BitReader, BitWriter
from consent.signals.tcf import TcString, decode_tc_string, encode_tc_string
from consent.signals.us import (
    UsCalifornia,
    UsNational,
    decode_us_california,
    decode_us_national,
    encode_us_california,
    encode_us_national,
)

MAX_CHARACTERS = 32_768
TYPE = 3
VERSION = 1
SIX_BITS = 6
COUNT_BITS = 12
MAX_SECTION = 4_095
TCF_EU = 2
US_NATIONAL = 7
US_CALIFORNIA = 8
_READ_HERE = (TCF_EU, US_NATIONAL, US_CALIFORNIA)
_OPAQUE = re.compile(r"[A-Za-z0-9._-]+")
_END = "11"


@dataclass(frozen=True, kw_only=True)
class GppString:
    """The sections of a GPP string; `opaque` are those not read here, by their id in ascending order."""

    tcf_eu: TcString | None = None
    us_national: UsNational | None = None
    us_california: UsCalifornia | None = None
    opaque: tuple[tuple[int, str], ...] = ()


def decode_gpp_string(text: str) -> GppString:
    """Read a GPP string.

    Raises:
        ConsentStringError: the header or a section that is read here is malformed, the two do not fit together,
            or the string is over 32,768 characters long.
    """
    if len(text) > MAX_CHARACTERS:
        raise ConsentStringError(f"A GPP string is at most {MAX_CHARACTERS} characters long.")
    header, *sections = text.split("~")
    by_id = dict(zip(_read_header(header, len(sections)), sections, strict=True))
    tcf_eu, us_national, us_california = (by_id.pop(section, None) for section in _READ_HERE)
    _require_opaque(by_id.items())
    return GppString(
        tcf_eu=None if tcf_eu is None else decode_tc_string(tcf_eu),
        us_national=None if us_national is None else decode_us_national(us_national),
        us_california=None if us_california is None else decode_us_california(us_california),
        opaque=tuple(by_id.items()),
    )


def encode_gpp_string(value: GppString) -> str:
    """Write a GPP string, sections in the order of their ids.

    Raises:
        ConsentStringError: a section can not be written, or the string would be over 32,768 characters long.
    """
    by_id = dict(value.opaque)
    if list(by_id) != sorted(by_id) or len(by_id) != len(value.opaque) or by_id.keys() & set(_READ_HERE):
        raise ConsentStringError(
            "The opaque sections of a GPP string are out of order, or one of them is read here."
        )
    _require_opaque(value.opaque)
    if value.tcf_eu is not None:
        by_id[TCF_EU] = encode_tc_string(value.tcf_eu)
    if value.us_national is not None:
        by_id[US_NATIONAL] = encode_us_national(value.us_national)
    if value.us_california is not None:
        by_id[US_CALIFORNIA] = encode_us_california(value.us_california)
    ids = sorted(by_id)
    text = "~".join([_write_header(ids), *(by_id[section] for section in ids)])
    if len(text) > MAX_CHARACTERS:
        raise ConsentStringError(f"A GPP string is at most {MAX_CHARACTERS} characters long.")
    return text


def _require_opaque(sections: Iterable[tuple[int, str]]) -> None:
    if not all(1 <= section <= MAX_SECTION and _OPAQUE.fullmatch(text) for section, text in sections):
        raise ConsentStringError("A section of the GPP string is empty, or not of characters safe in URLs.")


def _read_header(text: str, sections: int) -> list[int]:
    reader = BitReader(text)
    if reader.integer(SIX_BITS) != TYPE or reader.integer(SIX_BITS) != VERSION:
        raise ConsentStringError("The text is not a GPP string of version 1.")
    ids: list[int] = []
    last = 0
    for _ in range(reader.integer(COUNT_BITS)):
        is_range = reader.flag()
        start = last + _read_fibonacci(reader)
        last = start + _read_fibonacci(reader) if is_range else start
        # A range of thousands takes a few bits: it is measured before it is laid out.
        if len(ids) + last - start >= sections:
            break
        ids.extend(range(start, last + 1))
    else:
        if len(ids) == sections:
            reader.finish()
            return ids
    raise ConsentStringError("The header of the GPP string does not list the sections that follow it.")


def _write_header(ids: Sequence[int]) -> str:
    writer = BitWriter()
    writer.integer(TYPE, SIX_BITS)
    writer.integer(VERSION, SIX_BITS)
    runs = _runs(ids)
    writer.integer(len(runs), COUNT_BITS)
    last = 0
    for start, end in runs:
        writer.flag(end > start)
        writer.put(_fibonacci(start - last))
        if end > start:
            writer.put(_fibonacci(end - start))
        last = end
    return writer.text()


def _runs(ids: Sequence[int]) -> list[tuple[int, int]]:
    starts = [item for item in ids if item - 1 not in ids]
    ends = [item for item in ids if item + 1 not in ids]
    return list(zip(starts, ends, strict=True))


def _fibonacci_numbers() -> tuple[int, ...]:
    numbers = [1, 2]
    while numbers[-1] < MAX_SECTION:
        numbers.append(numbers[-1] + numbers[-2])
    return tuple(numbers)


def _read_fibonacci(reader: BitReader) -> int:
    word = reader.take_until(_END)[:-1]
    if len(word) > len(_FIBONACCI):
        raise ConsentStringError("The header of the GPP string names a section that can not be.")
    return sum(number for number, bit in zip(_FIBONACCI, word, strict=False) if bit == "1")


def _fibonacci(value: int) -> str:
    word = ""
    for number in reversed(_FIBONACCI):
        if number <= value:
            value -= number
            word = "1" + word
        elif word:
            word = "0" + word
    return word + "1"


_FIBONACCI = _fibonacci_numbers()
