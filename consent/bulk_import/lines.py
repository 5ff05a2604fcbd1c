"""Lines out of pieces of a stream, none of them ever held longer than a row may be."""

from collections.abc import Iterator
from typing import NamedTuple

MAX_LINE_BYTES = 16 * 1024
NEWLINE, RETURN, QUOTE = b"\n", b"\r", b'"'
MARK = b"\xef\xbb\xbf"
"""What some programs begin UTF-8 files with."""


class Line(NamedTuple):
    """A line without its end."""

    number: int
    """Counted from 1."""
    content: bytes | None
    """None where it is longer than a row may be."""
    quotes: int
    """How many quotation marks it holds, those beyond the longest row included."""


class Lines:
    """Cuts a stream into lines; what is beyond the longest row is counted and dropped as it comes."""

    def __init__(self) -> None:
        self._number = 0
        self._begun = b""
        self._dropped = False
        self._quotes = 0

    def feed(self, data: bytes) -> Iterator[Line]:
        """Yield the lines that end in this piece."""
        *whole, rest = data.split(NEWLINE)
        for piece in whole:
            yield self._end(piece)
        if len(self._begun) + len(rest) > MAX_LINE_BYTES:
            self._drop(rest)
        else:
            self._begun += rest

    def finish(self) -> Iterator[Line]:
        """Yield the last line, where the stream does not end with a line's end."""
        if self._begun or self._dropped:
            yield self._end(b"")

    def _drop(self, piece: bytes) -> None:
        self._quotes += self._begun.count(QUOTE) + piece.count(QUOTE)
        self._begun, self._dropped = b"", True

    def _end(self, piece: bytes) -> Line:
        content = self._begun + piece
        quotes = self._quotes + content.count(QUOTE)
        too_long = self._dropped or len(content) > MAX_LINE_BYTES
        self._number += 1
        self._begun, self._dropped, self._quotes = b"", False, 0
        if self._number == 1:
            content = content.removeprefix(MARK)
        return Line(self._number, None if too_long else content.removesuffix(RETURN), quotes)
