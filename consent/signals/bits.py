"""Bits behind base64url text, as the IAB's consent strings pack them: six to a character, first bit first."""

import re

from consent.errors import ConsentStringError

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
SEXTET = 6
_TEXT = re.compile(r"[A-Za-z0-9_-]+")
_BITS_OF = {ord(character): f"{value:06b}" for value, character in enumerate(ALPHABET)}
_CHARACTER_OF = {f"{value:06b}": character for value, character in enumerate(ALPHABET)}
_PADDING_UNITS = (6, 8, 24)
"""Fields end at a character (GPP 1.0), at a byte (RFC 4648), or at four characters (the IAB's own TCF library)."""


class BitReader:
    """Fields out of one segment, in their order; `finish` demands that nothing but padding is left."""

    def __init__(self, text: str) -> None:
        """Unpack a segment.

        Raises:
            ConsentStringError: a character is not of base64url, or there is none.
        """
        if not _TEXT.fullmatch(text):
            raise ConsentStringError("A segment of the consent string is empty or not base64url without padding.")
        self._bits = text.translate(_BITS_OF)
        self._position = 0

    def take(self, count: int) -> str:
        """Return the next `count` bits as zeros and ones.

        Raises:
            ConsentStringError: the segment ends before.
        """
        end = self._position + count
        if end > len(self._bits):
            raise ConsentStringError("A segment of the consent string ends within a field.")
        taken = self._bits[self._position : end]
        self._position = end
        return taken

    def take_until(self, mark: str) -> str:
        """Return the bits up to and with the next `mark`.

        Raises:
            ConsentStringError: the mark does not come.
        """
        found = self._bits.find(mark, self._position)
        if found < 0:
            raise ConsentStringError("A segment of the consent string ends within a field.")
        return self.take(found + len(mark) - self._position)

    def integer(self, width: int) -> int:
        """Return the next unsigned integer of `width` bits.

        Raises:
            ConsentStringError: the segment ends before.
        """
        return int(self.take(width), 2)

    def flag(self) -> bool:
        """Return the next bit.

        Raises:
            ConsentStringError: the segment ends before.
        """
        return self.take(1) == "1"

    def finish(self) -> None:
        """Demand that only zeros follow, as many as one of the paddings in use asks for.

        Raises:
            ConsentStringError: a one is left, or more zeros than any padding has.
        """
        lengths = {_round_up(_round_up(self._position, unit), SEXTET) for unit in _PADDING_UNITS}
        if "1" in self._bits[self._position :] or len(self._bits) not in lengths:
            raise ConsentStringError("A segment of the consent string goes on after its last field.")


class BitWriter:
    """Fields into one segment, in their order."""

    def __init__(self) -> None:
        self._parts: list[str] = []

    def put(self, bits: str) -> None:
        """Append zeros and ones."""
        self._parts.append(bits)

    def integer(self, value: int, width: int) -> None:
        """Append an unsigned integer of `width` bits.

        Raises:
            ConsentStringError: it does not fit.
        """
        if not 0 <= value < 1 << width:
            raise ConsentStringError("A number does not fit into its field of the consent string.")
        self.put(f"{value:0{width}b}")

    def flag(self, value: bool) -> None:
        """Append one bit."""
        self.put("1" if value else "0")

    def text(self) -> str:
        """Return the segment, padded with zeros to a whole character."""
        bits = "".join(self._parts)
        bits = bits.ljust(_round_up(len(bits), SEXTET), "0")
        return "".join(_CHARACTER_OF[bits[at : at + SEXTET]] for at in range(0, len(bits), SEXTET))


def _round_up(count: int, unit: int) -> int:
    return -(-count // unit) * unit
