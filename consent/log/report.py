"""What a verification found, as values, lines and JSON."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime

SAME_PLACE = (
    "The verifier key lay beside the log: this proves that the log is consistent with itself, not who "
    "signed it. Pass --vkey with a key from somebody you trust."
)


@dataclass(frozen=True)
class Finding:
    """One thing that does not hold: what, in which file, at which entry, and why."""

    what: str
    file: str
    entry: int | None
    why: str

    def line(self) -> str:
        """Return the finding as one line."""
        place = self.file if self.entry is None else f"{self.file}, entry {self.entry}"
        return f"MISMATCH {self.what} ({place}): {self.why}"


@dataclass
class Report:
    """What was verified, and everything that did not hold."""

    origin: str | None = None
    size: int | None = None
    root: str | None = None
    since: int | None = None
    key_from_same_place: bool = False
    openings: int = 0
    sealed: int = 0
    """Openings about a customer, which only the service can read."""
    erased: int = 0
    """Openings that were destroyed with their customer's key."""
    accounted: int = 0
    """Openings that were destroyed as the log's own entries about erasures say."""
    withheld: int = 0
    quorum: str | None = None
    witnesses: dict[str, int] = field(default_factory=dict)
    note: bytes | None = field(default=None, repr=False)
    findings: list[Finding] = field(default_factory=list)

    @property
    def verified(self) -> bool:
        """Whether everything held."""
        return not self.findings

    def add(self, what: str, file: str, why: str, *, entry: int | None = None) -> None:
        """Note what does not hold."""
        self.findings.append(Finding(what, file, entry, why))

    def lines(self) -> Iterator[str]:
        """Say it in lines: findings first, then what was looked at, then the verdict."""
        yield from (finding.line() for finding in self.findings)
        if self.origin is not None:
            yield f"log {self.origin}, {self.size} entries, root {self.root}"
            counts = {"sealed": self.sealed, "erased": self.erased, "withheld": self.withheld}
            yield f"openings: {self.openings} checked, {', '.join(f'{n} {what}' for what, n in counts.items())}"
        for name, time in sorted(self.witnesses.items()):
            yield f"witness {name} cosigned this head at {_moment(time)}"
        if self.quorum is not None:
            yield f"quorum {self.quorum} reached"
        if self.since is not None and self.verified:
            yield f"the log extends the earlier checkpoint of {self.since} entries"
        if self.key_from_same_place:
            yield SAME_PLACE
        yield "VERIFIED" if self.verified else f"NOT VERIFIED: {len(self.findings)} findings"


def _moment(time: int) -> str:
    try:
        return datetime.fromtimestamp(time, UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return f"POSIX time {time}"


def report_json(report: Report) -> str:
    """Write a report as JSON."""
    fields = {name: value for name, value in asdict(report).items() if name != "note"}
    return json.dumps({"verified": report.verified, **fields}, indent=2) + "\n"
