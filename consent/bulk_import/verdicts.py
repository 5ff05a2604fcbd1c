"""What an import answers, for both of its ends: a line per row, then one that says how many there were.

A row is known by the line at which it begins; nothing of its content comes back.
"""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from consent.contract import ContractModel
from consent.errors import UnavailableError


class Refusal(StrEnum):
    """Why a row can not be read; what it may not say, the errors of the service tell by their codes."""

    TOO_LONG = "too_long"
    BAD_ENCODING = "bad_encoding"
    BAD_JSON = "bad_json"
    BAD_CSV = "bad_csv"
    NESTED = "nested"
    DUPLICATE_FIELD = "duplicate_field"
    UNKNOWN_FIELD = "unknown_field"
    BAD_VALUE = "bad_value"


WITHDRAWN = "withdrawn"
"""A grant of a customer who has withdrawn here; only a choice that is not imported undoes that."""


class Verdict(ContractModel):
    """What became of one row."""

    row: int
    """The line at which it begins, counted from 1."""
    verdict: Literal["ok", "refused"]
    code: str | None = None
    """Why it was refused."""
    log_index: int | None = None
    """Where it is recorded; None for one that was refused, and in a dry run."""

    def line(self) -> bytes:
        """Write it as one line of JSON."""
        return self.model_dump_json(exclude_none=True).encode() + b"\n"


def accepted_line(row: int, log_index: int | None) -> bytes:
    """Return the line of a row that is recorded, or in a dry run could be: what `Verdict.line` writes."""
    place = b"" if log_index is None else b',"log_index":%d' % log_index
    return b'{"row":%d,"verdict":"ok"%b}\n' % (row, place)


class Summary(ContractModel):
    """The last line of an answer; without it, the answer broke off."""

    rows: int
    recorded: int
    """How many are recorded, or in a dry run could be."""
    refused: int
    dry_run: bool

    def line(self) -> bytes:
        """Write it as one line of JSON."""
        return self.model_dump_json().encode() + b"\n"


ANSWER: TypeAdapter[Verdict | Summary] = TypeAdapter(Verdict | Summary)


def read_answer(lines: Iterable[str]) -> Iterator[Verdict | Summary]:
    """Yield what an answer says, the summary last.

    Raises:
        UnavailableError: it breaks off, or is no such answer.
    """
    last = None
    for line in lines:
        try:
            last = ANSWER.validate_json(line)
        except ValidationError:
            raise UnavailableError("The consent service answered in a form that is not its own.") from None
        yield last
    if not isinstance(last, Summary):
        raise UnavailableError("The answer to the import broke off; send the same file again.")
