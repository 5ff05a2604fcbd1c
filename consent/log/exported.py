"""Checking what an officer exported, offline: its head, then every line's proof and what opens its entry."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import rfc8785
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from consent.contract import canonical_json
from consent.errors import ConsentError, LogError, SetupError
from consent.log.commitments import ErasedOpening, Opening, parse_opening
from consent.log.erasures import erased_by, require_accounted
from consent.log.note import Checkpoint, decode_base64
from consent.log.policy import printable
from consent.log.proof import EntryProof
from consent.log.report import Report
from consent.log.verify import Kept, Trust, require_file, verify_place

HEAD = "line 1"
LINES = "the export"


class _HeadLine(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    checkpoint: str


class _EntryLine(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    index: int = Field(ge=0)
    entry: str
    proof: list[str]
    opening: dict[str, Any] | None


def check_export(file: Path, trust: Trust, place: str | None = None) -> Report:
    """Check an export, and where a published log is given, that too and that it extends the export's head.

    Args:
        file: what `confide audit export` wrote.
        trust: whose signatures count.
        place: the published log's folder or address.

    Raises:
        SetupError: nobody is trusted, or there is no such file or folder.
        UnavailableError: a server does not answer as it should.
    """
    if not trust.names_logs:
        raise SetupError("An export needs somebody to trust; pass --vkey, or a --policy that lists the log.")
    require_file(file)
    report = Report()
    with file.open("rb") as stream:
        checkpoint = _read_head(next(stream, b""), trust, report)
        if checkpoint is not None:
            _Lines(checkpoint, report).check(stream)
    if place is not None and report.note is not None:
        published = verify_place(place, trust=trust, since=Kept(HEAD, report.note))
        report.since = published.since
        report.findings += published.findings
    return report


def _read_head(line: bytes, trust: Trust, report: Report) -> Checkpoint | None:
    """Open the export's checkpoint; None, and a finding, when it is not one that is trusted."""
    try:
        note = _HeadLine.model_validate_json(line).checkpoint
        checkpoint, times = trust.open(note)
    except ValidationError:
        report.add("checkpoint", HEAD, "it is not a line with a checkpoint")
        return None
    except ConsentError as error:
        report.add("checkpoint", HEAD, str(error))
        return None
    report.note = note.encode()
    report.origin, report.size, report.root = checkpoint.origin, checkpoint.size, checkpoint.root.hex()
    report.witnesses = {printable(name): time for name, time in times.items()}
    report.quorum = printable(trust.policy.quorum) if trust.policy is not None else None
    return checkpoint


class _Lines:
    """The lines of entries under one head; every mismatch goes into the report."""

    def __init__(self, checkpoint: Checkpoint, report: Report) -> None:
        self._checkpoint = checkpoint
        self._report = report
        self._expected = 0

    def check(self, lines: Iterable[bytes]) -> None:
        """Check each line, that none is missing, and that no more is erased than the entries account for."""
        for number, line in enumerate(lines, 2):
            self._check_line(f"line {number}", line)
        self._require_next(LINES, self._checkpoint.size)
        require_accounted(self._report, LINES)

    def _check_line(self, name: str, line: bytes) -> None:
        try:
            given = _EntryLine.model_validate_json(line)
        except ValidationError:
            self._report.add("line", name, "it is not a line with index, entry, proof and opening")
            return
        if not line.endswith(b"\n"):
            self._report.add("line", name, "it breaks off before its end", entry=given.index)
        self._require_next(name, given.index)
        try:
            entry = decode_base64(given.entry)
            path = tuple(decode_base64(node) for node in given.proof)
            EntryProof(given.index, path, "").verify(self._checkpoint, entry)
        except LogError as error:
            self._report.add("proof", name, str(error), entry=given.index)
            return
        self._check_opening(name, given, entry)

    def _require_next(self, name: str, index: int) -> None:
        if index > self._expected:
            last = f" to {index - 1}" if index > self._expected + 1 else ""
            self._report.add(
                "line", name, f"entry {self._expected}{last} is missing before it", entry=self._expected
            )
        elif index < self._expected:
            self._report.add("line", name, "it is out of order", entry=index)
        self._expected = max(self._expected, index + 1)

    def _check_opening(self, name: str, given: _EntryLine, entry: bytes) -> None:
        if given.opening is None:
            self._report.withheld += 1
            return
        try:
            opening = parse_opening(canonical_json(given.opening))
        except (LogError, rfc8785.CanonicalizationError):
            why = "it is neither an opening nor a sealed or erased one"
            self._report.add("opening", name, why, entry=given.index)
            return
        if opening.index != given.index or (isinstance(opening, Opening) and not opening.opens(entry)):
            self._report.add("opening", name, "it is not what the entry commits to", entry=given.index)
        elif isinstance(opening, Opening):
            self._report.openings += 1
            self._report.accounted += erased_by(opening.line())
        elif isinstance(opening, ErasedOpening):
            self._report.erased += 1
        else:
            self._report.sealed += 1
