"""Why a request was not done, as RFC 9457 writes it: what the service answers and its clients read."""

from pydantic import BaseModel, ConfigDict

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:confide:problem:"


class Problem(BaseModel):
    """A problem's details; members that a reader does not know are ignored (RFC 9457, section 3.2)."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    type: str
    """The prefix above and the code: what kind of problem it is, for good."""
    title: str
    """The kind in words; the same for every problem of a type."""
    status: int
    detail: str
    """A sentence that the caller can act on; never a word of what was sent."""
    code: str
    """What kind of problem it is, as `consent.errors` names it."""

    @classmethod
    def of(cls, code: str, detail: str, status: int) -> "Problem":
        """Make the problem with this code."""
        title = code.replace("_", " ").capitalize()
        return cls(type=TYPE_PREFIX + code, title=title, status=status, detail=detail, code=code)
