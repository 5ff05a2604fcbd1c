"""What an intake did, in counts."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class RejectReason(StrEnum):
    """Why a record became a dead letter, in the order in which the checks are made."""

    MALFORMED = "malformed"
    UNKNOWN_TYPE = "unknown_type"
    MISSING_MESSAGE_ID = "missing_message_id"
    MISSING_ID = "missing_id"
    BAD_TIMESTAMP = "bad_timestamp"
    FUTURE_TIMESTAMP = "future_timestamp"
    BAD_VALUE = "bad_value"


@dataclass(frozen=True, slots=True)
class IngestReport:
    """Counts of one intake; `received` is always `kept + duplicates + rejected`.

    Blank lines and the header line of a CSV are not records and are not counted.
    """

    received: int
    kept: int
    duplicates: int
    rejected: Mapping[RejectReason, int]

    @property
    def rejected_total(self) -> int:
        """Dead letters of all reasons together."""
        return sum(self.rejected.values())

    @property
    def reconciles(self) -> bool:
        """Whether every record received is accounted for."""
        return self.received == self.kept + self.duplicates + self.rejected_total

    def __add__(self, other: "IngestReport") -> "IngestReport":
        """Add the counts of two intakes."""
        reasons = {**self.rejected, **other.rejected}
        return IngestReport(
            received=self.received + other.received,
            kept=self.kept + other.kept,
            duplicates=self.duplicates + other.duplicates,
            rejected={r: self.rejected.get(r, 0) + other.rejected.get(r, 0) for r in reasons},
        )
