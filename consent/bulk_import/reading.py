"""Rows of NDJSON and CSV: each becomes a choice or a reason why not, and a broken one stops no other.

Everything that a row can hold is short text of a known form, so what nests, repeats a field or breaks a line is
refused before a parser sees it.
"""

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from pydantic import ValidationError

from consent.bulk_import.lines import Line, Lines
from consent.bulk_import.verdicts import Refusal
from consent.contract import Choice
from consent.errors import InvalidRequestError, UnsupportedMediaError

NDJSON = "application/x-ndjson"
CSV = "text/csv"
COLUMNS = frozenset(Choice.model_fields) - {"brand", "method"}
NEEDED = frozenset({"subject", "act"})
OBJECT = json.JSONDecoder(object_pairs_hook=list)

Fields = Mapping[str, str]


class Row(NamedTuple):
    """One row: what it says, or why it says nothing."""

    number: int
    """The line at which it begins, counted from 1."""
    raw: bytes
    """What its content is known by when the file comes again."""
    choice: Choice | None
    refusal: Refusal | None


class Reader(Protocol):
    """Turns pieces of a file into rows."""

    @property
    def head(self) -> bytes:
        """What all rows depend on: the names of the columns, where the file gives them once."""

    def feed(self, data: bytes) -> Iterator[Row]:
        """Yield the rows that end in this piece."""

    def finish(self) -> Iterator[Row]:
        """Yield what is left at the end of the file."""


class UnreadableRowError(Exception):
    """A row that is not one; it becomes its verdict."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.value)
        self.refusal = refusal


def open_reader(media_type: str, brand: str) -> Reader:
    """Return the reader of a file of a brand's choices.

    Raises:
        UnsupportedMediaError: it is neither NDJSON nor CSV, or not in UTF-8.
    """
    kind, *parameters = (part.strip().lower() for part in media_type.split(";"))
    charset = next((one.partition("=")[2].strip('"') for one in parameters if one.startswith("charset")), "utf-8")
    if kind not in (NDJSON, CSV) or charset != "utf-8":
        raise UnsupportedMediaError(f"Send the file as {NDJSON} or as {CSV}, in UTF-8 and not compressed.")
    return _Ndjson(brand) if kind == NDJSON else _Csv(brand)


class _Ndjson:
    """One JSON object a line."""

    head = b""

    def __init__(self, brand: str) -> None:
        self._brand = brand
        self._lines = Lines()

    def feed(self, data: bytes) -> Iterator[Row]:
        yield from self._rows(self._lines.feed(data))

    def finish(self) -> Iterator[Row]:
        yield from self._rows(self._lines.finish())

    def _rows(self, lines: Iterator[Line]) -> Iterator[Row]:
        for line in lines:
            if line.content is None:
                yield Row(line.number, b"", None, Refusal.TOO_LONG)
            elif line.content and not line.content.isspace():
                yield _row(line.number, line.content, self._brand, _json_fields)


class _Csv:
    """A line of column names, then one row a line; RFC 4180.

    A quotation mark that is never closed takes everything after it into one refused row: text that was typed
    into a form must not become rows of its own.
    """

    def __init__(self, brand: str) -> None:
        self._brand = brand
        self._lines = Lines()
        self._columns: Sequence[str] = ()
        self._open: int | None = None
        self.head = b""

    def feed(self, data: bytes) -> Iterator[Row]:
        yield from self._rows(self._lines.feed(data))

    def finish(self) -> Iterator[Row]:
        yield from self._rows(self._lines.finish())
        if self._open is not None:
            yield Row(self._open, b"", None, Refusal.BAD_CSV)

    def _rows(self, lines: Iterator[Line]) -> Iterator[Row]:
        for line in lines:
            if not self._columns:
                self._name_columns(line)
            elif line.quotes % 2:
                if self._open is None:
                    self._open = line.number
                else:
                    yield Row(self._open, b"", None, Refusal.BAD_CSV)
                    self._open = None
            elif self._open is None and line.content is None:
                yield Row(line.number, b"", None, Refusal.TOO_LONG)
            elif self._open is None and line.content:
                yield _row(line.number, line.content, self._brand, self._fields)

    def _name_columns(self, line: Line) -> None:
        try:
            columns = _cells(_text(line.content or b""))
        except UnreadableRowError:
            columns = []
        if not NEEDED <= set(columns) <= COLUMNS or len(set(columns)) != len(columns):
            names = ", ".join(sorted(COLUMNS))
            raise InvalidRequestError(f"The first line has to name the columns, each once, out of: {names}.")
        self._columns, self.head = columns, line.content or b""

    def _fields(self, text: str) -> Fields:
        cells = _cells(text)
        if len(cells) != len(self._columns):
            raise UnreadableRowError(Refusal.BAD_CSV)
        return {name: cell for name, cell in zip(self._columns, cells, strict=True) if cell}


def _row(number: int, content: bytes, brand: str, fields_of: Callable[[str], Fields]) -> Row:
    try:
        return Row(number, content, _choice(fields_of(_text(content)), brand), None)
    except UnreadableRowError as error:
        return Row(number, content, None, error.refusal)


def _choice(fields: Fields, brand: str) -> Choice:
    if not fields.keys() <= COLUMNS:
        raise UnreadableRowError(Refusal.UNKNOWN_FIELD)
    try:
        return Choice.model_validate_strings({**fields, "brand": brand, "method": "import"})
    except ValidationError:
        raise UnreadableRowError(Refusal.BAD_VALUE) from None


def _text(content: bytes) -> str:
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise UnreadableRowError(Refusal.BAD_ENCODING) from None
    if "\0" in text:
        raise UnreadableRowError(Refusal.BAD_ENCODING)
    return text


def _cells(text: str) -> list[str]:
    try:
        return next(csv.reader([text], strict=True), [])
    except csv.Error:
        raise UnreadableRowError(Refusal.BAD_CSV) from None


def _json_fields(text: str) -> Fields:
    """Read a flat object; no value of a row holds a bracket, so more than one opening is never right."""
    if text.count("{") + text.count("[") > 1:
        raise UnreadableRowError(Refusal.NESTED)
    try:
        pairs = OBJECT.decode(text)
    except ValueError:
        raise UnreadableRowError(Refusal.BAD_JSON) from None
    if not text.lstrip().startswith("{"):
        raise UnreadableRowError(Refusal.BAD_JSON)
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise UnreadableRowError(Refusal.DUPLICATE_FIELD)
    if set(map(type, fields.values())) <= {str}:
        return fields
    return dict(_as_text(pairs))


def _as_text(pairs: Sequence[tuple[str, object]]) -> Iterator[tuple[str, str]]:
    for name, value in pairs:
        if isinstance(value, str):
            yield name, value
        elif isinstance(value, bool):
            yield name, str(value).lower()
        elif value is not None:
            raise UnreadableRowError(Refusal.BAD_VALUE)
