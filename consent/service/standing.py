"""The one rule by which acts become what holds: deny by default, a withdrawal wins every tie.

Time is the server's. A grant undoes a withdrawal only at a strictly later time; a withdrawal holds at once,
also when the clock stepped back.
"""

from dataclasses import dataclass
from datetime import datetime

from consent.contract import Act


@dataclass(frozen=True)
class Standing:
    """What holds for one customer and one purpose or channel, since when, and by which log entry."""

    act: Act
    since: datetime
    log_index: int
    notice: str | None = None
    """Hash of the notice that a grant of a purpose names."""
    expires_at: datetime | None = None
    """When a grant ends by itself."""

    @property
    def granted(self) -> bool:
        """Whether it is a yes; whether that yes still holds is `consent.service.holding`'s to say."""
        return self.act is Act.GRANT


def after(previous: Standing | None, new: Standing) -> Standing:
    """Return what holds once `new` was recorded, at the time `new.since`."""
    if previous is None:
        return new
    if new.granted and not previous.granted and new.since <= previous.since:
        return previous
    return Standing(new.act, max(new.since, previous.since), new.log_index, new.notice, new.expires_at)


def granted(standing: Standing | None) -> bool:
    """Tell whether there is a yes; unknown is no."""
    return standing is not None and standing.granted
