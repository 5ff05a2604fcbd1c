"""Recording a file of choices in parts: each part once, whatever becomes of the file and however often it comes.

A part is so many rows, so that the same file has the same parts: one that was recorded is answered from what is
kept of it, and a file that stopped goes on behind it. An imported grant never undoes a withdrawal that was made
here, for the file may be older than it.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from tempfile import SpooledTemporaryFile

from pydantic import BaseModel

from consent.bulk_import.reading import Reader, Row
from consent.bulk_import.verdicts import WITHDRAWN, Summary, Verdict, accepted_line
from consent.contract import Act, Choice
from consent.errors import ConflictError, ConsentError, TooLargeError
from consent.service import kept_requests
from consent.service.admissibility import rules
from consent.service.choices import keep, key_of
from consent.service.holding import Key, standings
from consent.service.work import Caller, Unit, Workplace

PART_ROWS = 2_000
"""Few enough that other writers never wait long."""
MAX_ROWS = 5_000_000
IN_MEMORY_BYTES = 1024 * 1024

Codes = dict[int, str]
"""Why rows are refused, by their place in their part."""


class _Kept(BaseModel):
    """What is kept of a recorded part: the first of its entries in the log, and which rows have none."""

    first_index: int
    refused: Codes


@dataclass
class Import:
    """One file on its way in; `answer` holds a line per row, and at the end the summary.

    Attributes:
        work: the service.
        caller: the brand.
        name: what the brand calls this file; the same again is the same file.
        reader: reads its rows.
        dry_run: whether nothing is recorded.
    """

    work: Workplace
    caller: Caller
    name: str
    reader: Reader
    dry_run: bool
    answer: SpooledTemporaryFile[bytes] = field(
        default_factory=lambda: SpooledTemporaryFile(max_size=IN_MEMORY_BYTES)  # noqa: SIM115 - outlives this
    )
    _pending: list[Row] = field(default_factory=list)
    _parts: int = 0
    _rows: int = 0
    _recorded: int = 0

    def feed(self, data: bytes) -> None:
        """Take in a piece of the file.

        Raises:
            TooLargeError: the file has too many rows; those before are recorded.
            InvalidRequestError: it does not begin with the names of its columns.
        """
        self._take(self.reader.feed(data))

    def finish(self) -> None:
        """Take in the end of the file and complete the answer; raises as `feed` does."""
        self._take(self.reader.finish())
        if self._pending:
            self._record()
        refused = self._rows - self._recorded
        total = Summary(rows=self._rows, recorded=self._recorded, refused=refused, dry_run=self.dry_run)
        self.answer.write(total.line())
        self.answer.seek(0)

    def close(self) -> None:
        """Let go of the answer."""
        self.answer.close()

    def _take(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self._rows += 1
            if self._rows > MAX_ROWS:
                raise TooLargeError(f"A file has at most {MAX_ROWS} rows; send the rest as another one.")
            self._pending.append(row)
            if len(self._pending) == PART_ROWS:
                self._record()

    def _record(self) -> None:
        rows, self._pending = self._pending, []
        key = f"import/{self.name}/{self._parts}"
        self._parts += 1
        if self.dry_run:
            with self.work.reading() as unit:
                done = _Kept(first_index=0, refused=_screened(unit, self.caller.name, rows)[0])
        else:
            with self.work.writing() as unit:
                done = _once(unit, self.caller, key, rows, _digest(self.reader.head, rows))
        self._tell(rows, done)

    def _tell(self, rows: Sequence[Row], done: _Kept) -> None:
        index = done.first_index
        lines = []
        for place, row in enumerate(rows):
            code = done.refused.get(place)
            if code is not None:
                lines.append(Verdict(row=row.number, verdict="refused", code=code).line())
            else:
                at = None if self.dry_run else index
                lines.append(accepted_line(row.number, at))
                index += 1
        self._recorded += len(rows) - len(done.refused)
        self.answer.write(b"".join(lines))


def _digest(head: bytes, rows: Sequence[Row]) -> str:
    found = hashlib.sha256(hashlib.sha256(head).digest())
    for row in rows:
        found.update(hashlib.sha256(row.raw).digest())
    return found.hexdigest()


def _once(unit: Unit, caller: Caller, key: str, rows: Sequence[Row], digest: str) -> _Kept:
    """Record a part, or find that it is recorded; one where nothing is recordable leaves no trace."""
    unit.lock()
    seen = kept_requests.find(unit, caller.id, key)
    if seen is not None:
        if seen.request != digest:
            return _Kept(first_index=0, refused=dict.fromkeys(range(len(rows)), ConflictError.code))
        return _Kept.model_validate_json(seen.response)
    refused, choices = _screened(unit, caller.name, rows)
    if not choices:
        return _Kept(first_index=0, refused=refused)
    indices = keep(unit, caller.name, choices)
    done = _Kept(first_index=indices[0], refused=refused)
    kept_requests.keep(
        unit, caller.id, key, request=digest, response=done.model_dump_json().encode(), first_index=indices[0]
    )
    return done


def _screened(unit: Unit, brand: str, rows: Sequence[Row]) -> tuple[Codes, list[Choice]]:
    """Return why rows are refused, and the choices of all others in their order."""
    read = [row.choice for row in rows if row.choice is not None]
    said = standings(unit.session, brand, (choice.subject for choice in read))
    withdrawn = {key for key, standing in said.items() if standing.act is Act.WITHDRAW}
    allowed = rules(unit, brand, read)
    refused: Codes = {}
    choices: list[Choice] = []
    for place, row in enumerate(rows):
        if row.choice is None:
            refused[place] = str(row.refusal)
            continue
        try:
            allowed.require(row.choice)
        except ConsentError as error:
            refused[place] = error.code
            continue
        if _too_late(row.choice, withdrawn):
            refused[place] = WITHDRAWN
        else:
            choices.append(row.choice)
    return refused, choices


def _too_late(choice: Choice, withdrawn: set[Key]) -> bool:
    """Tell whether a grant comes after a withdrawal, here or further up in its part, and note withdrawals."""
    key = key_of(choice)
    if choice.act is Act.WITHDRAW:
        withdrawn.add(key)
        return False
    return key in withdrawn
