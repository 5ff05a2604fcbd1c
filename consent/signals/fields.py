"""Fields of consent strings: how each kind is read, and how it is written back."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from consent.errors import ConsentStringError
from consent.signals.bits import BitReader, BitWriter

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
LETTER_BITS = 6
MOMENT_BITS = 36
ANSWER_BITS = 2
MAX_ANSWER = 2
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DECISECOND = timedelta(milliseconds=100)


class Field(NamedTuple):
    """One field of a segment under the name that it has in the segment's value."""

    name: str
    read: Callable[[BitReader], Any]
    write: Callable[[BitWriter, Any], None]


def read_fields(reader: BitReader, fields: Iterable[Field]) -> dict[str, Any]:
    """Read fields in their order.

    Raises:
        ConsentStringError: one of them is malformed.
    """
    return {field.name: field.read(reader) for field in fields}


def write_fields(writer: BitWriter, fields: Iterable[Field], value: object) -> None:
    """Write the attributes of `value` that the fields name, in the fields' order.

    Raises:
        ConsentStringError: one of them does not fit.
    """
    for field in fields:
        field.write(writer, getattr(value, field.name))


def integer(name: str, width: int) -> Field:
    """Return an unsigned integer of `width` bits."""
    return Field(name, lambda reader: reader.integer(width), lambda writer, value: writer.integer(value, width))


def flag(name: str) -> Field:
    """Return a single bit."""
    return Field(name, BitReader.flag, BitWriter.flag)


def letters(name: str) -> Field:
    """Return a code of two letters, upper case in the value, six bits a letter."""
    return Field(name, _read_letters, _write_letters)


def moment(name: str) -> Field:
    """Return a time in UTC, counted in tenths of a second since 1970."""
    return Field(name, _read_moment, _write_moment)


def bitfield(name: str, size: int) -> Field:
    """Return the set of ids from 1 to `size` whose bits are ones."""
    return Field(
        name,
        lambda reader: read_bitfield(reader, size),
        lambda writer, value: write_bitfield(writer, value, size),
    )


def answer(name: str) -> Field:
    """Return a two-bit answer of the US sections, 0 to 2."""
    return Field(name, _read_answer, _write_answer)


def answers(name: str, count: int) -> Field:
    """Return a tuple of `count` two-bit answers."""

    def write(writer: BitWriter, value: tuple[int, ...]) -> None:
        if len(value) != count:
            raise ConsentStringError(f"A field of the consent string holds {count} answers in this version.")
        for item in value:
            _write_answer(writer, item)

    return Field(name, lambda reader: tuple(_read_answer(reader) for _ in range(count)), write)


def read_bitfield(reader: BitReader, size: int) -> frozenset[int]:
    """Read one bit per id.

    Raises:
        ConsentStringError: the segment ends before.
    """
    return frozenset(index for index, bit in enumerate(reader.take(size), start=1) if bit == "1")


def write_bitfield(writer: BitWriter, ids: frozenset[int], size: int) -> None:
    """Write one bit per id.

    Raises:
        ConsentStringError: an id is below 1 or above `size`.
    """
    if any(not 1 <= item <= size for item in ids):
        raise ConsentStringError("An id does not fit into its field of the consent string.")
    writer.put("".join("1" if item in ids else "0" for item in range(1, size + 1)))


def _read_letters(reader: BitReader) -> str:
    first, second = reader.integer(LETTER_BITS), reader.integer(LETTER_BITS)
    if max(first, second) >= len(LETTERS):
        raise ConsentStringError("A language or country code of the consent string is not two letters.")
    return LETTERS[first] + LETTERS[second]


def _write_letters(writer: BitWriter, value: str) -> None:
    if len(value) != len("EN") or not set(value) <= set(LETTERS):
        raise ConsentStringError("A language or country code of a consent string is two upper-case letters.")
    for letter in value:
        writer.integer(LETTERS.index(letter), LETTER_BITS)


def _read_moment(reader: BitReader) -> datetime:
    return _EPOCH + reader.integer(MOMENT_BITS) * _DECISECOND


def _write_moment(writer: BitWriter, value: datetime) -> None:
    count, rest = divmod(value - _EPOCH, _DECISECOND)
    if rest:
        raise ConsentStringError("A time in a consent string is a whole number of tenths of a second.")
    writer.integer(count, MOMENT_BITS)


def _read_answer(reader: BitReader) -> int:
    value = reader.integer(ANSWER_BITS)
    if value > MAX_ANSWER:
        raise ConsentStringError("An answer of the consent string is not one of those defined.")
    return value


def _write_answer(writer: BitWriter, value: int) -> None:
    if not 0 <= value <= MAX_ANSWER:
        raise ConsentStringError("An answer of a consent string is 0, 1 or 2.")
    writer.integer(value, ANSWER_BITS)
