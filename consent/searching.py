"""What a search of the log asks and answers, for both of its ends."""

from typing import Annotated, Any

from pydantic import AwareDatetime, Field

from consent.contract import ContractModel, Name, Pseudonym

MAX_PAGE = 500
MAX_ROUND = 2**31 - 1
Kind = Annotated[str, Field(pattern=r"^[a-z][a-z_]{0,62}$")]


class LogQuery(ContractModel):
    """Which entries are wanted; all that is given must fit. A customer is named in a body alone."""

    brand: Name | None = None
    subject: Pseudonym | None = None
    """A customer of `brand`, whose entries alone are wanted, and opened."""
    request_id: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] | None = None
    """The approved request for a copy that an officer's look at `subject` rests on."""
    kind: Kind | None = None
    run_id: Name | None = None
    round: Annotated[int, Field(ge=0, le=MAX_ROUND)] | None = None
    """A round of `run_id`."""
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    """The first instant that is not wanted any more."""
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = 100
    cursor: Annotated[str, Field(pattern=r"^[A-Za-z0-9_=-]{1,64}$")] | None = None
    """Where the page before ended."""


class LogHit(ContractModel):
    """An entry of the log as its reader may see it; what an erased entry said, nobody knows."""

    log_index: int
    payload: dict[str, Any]
    closed: bool = False
    """Whether it is about a customer, and tells of kind, time, brand and round alone."""


class LogPage(ContractModel):
    """Entries in the order of the log.

    A search is over when a page is `complete`, and at no other sign: a page that had to look far may hold less
    than was asked for, or nothing at all, and not be the last.
    """

    entries: tuple[LogHit, ...]
    complete: bool
    """Whether everything that fits has been given, of what the log held at the first page."""
    cursor: str | None
    """Where to go on; None exactly when the search is complete."""
    log_index: int
    """The entry that records this search."""
