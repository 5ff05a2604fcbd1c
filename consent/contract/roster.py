"""A brand's own answers, signed, for deciding without asking: who may be used for a purpose, and reached how."""

import hashlib
from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, Field, model_validator

from consent.contract.canonical import ContractModel, Digest, Name, Pseudonym
from consent.contract.permission import Channel

CHANNEL_BITS = {channel: 1 << place for place, channel in enumerate(Channel)}
"""Bits of the channels, in the order in which the contract names them."""
ALL_CHANNELS = (1 << len(Channel)) - 1
FOREVER = 0
"""The end of a grant that does not end by itself."""
LINES_AT_ONCE = 10_000

Count = Annotated[int, Field(ge=0)]


class RosterHead(ContractModel):
    """What the service says of one purpose at one position of the log; handed to the brand alone."""

    version: Literal[1] = 1
    brand: Name
    purpose: Name
    rows: Digest
    """As `Roster.rows_digest` computes it."""
    log_size: Annotated[int, Field(ge=1)]
    taken_at: AwareDatetime
    not_after: AwareDatetime


class Roster(ContractModel):
    """Those who may be used for a purpose, in columns of equal length, sorted by pseudonym."""

    subjects: tuple[Pseudonym, ...]
    grants: tuple[Count, ...]
    """Log index of the grant that allows each."""
    channels: tuple[Annotated[int, Field(ge=0, le=ALL_CHANNELS)], ...]
    """Sum of the `CHANNEL_BITS` over which each may be reached."""
    ends: tuple[Count, ...]
    """When each grant ends by itself, in microseconds since 1970 in UTC; `FOREVER` where it does not."""
    notices: tuple[Digest, ...]
    """The notices under which they granted."""
    notice: tuple[Count, ...]
    """Which of `notices` is each one's."""

    @model_validator(mode="after")
    def _columns_fit(self) -> Self:
        columns = (self.grants, self.channels, self.ends, self.notice)
        if any(len(column) != len(self.subjects) for column in columns):
            raise ValueError("columns must be of equal length")
        if any(one >= other for one, other in zip(self.subjects, self.subjects[1:], strict=False)):
            raise ValueError("pseudonyms must be sorted and distinct")
        if max(self.notice, default=-1) >= len(self.notices):
            raise ValueError("a row names a notice that is not there")
        return self

    def rows_digest(self) -> str:
        """Return the SHA-256 over a line per row: pseudonym, grant, channels, end and notice, parted by spaces."""
        running = hashlib.sha256()
        for start in range(0, len(self.subjects), LINES_AT_ONCE):
            running.update("".join(self._lines(slice(start, start + LINES_AT_ONCE))).encode())
        return running.hexdigest()

    def _lines(self, part: slice) -> Iterator[str]:
        columns = (self.subjects, self.grants, self.channels, self.ends, self.notice)
        for subject, grant, channels, end, notice in zip(*(column[part] for column in columns), strict=True):
            yield f"{subject} {grant} {channels} {end} {self.notices[notice]}\n"
