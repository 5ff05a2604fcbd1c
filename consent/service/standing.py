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

    @property
    def granted(self) -> bool:
        """Whether use is allowed."""
        return self.act is Act.GRANT


def after(previous: Standing | None, act: Act, at: datetime, log_index: int) -> Standing:
    """Return what holds once `act` was recorded at `at` under `log_index`."""
    if previous is None:
        return Standing(act, at, log_index)
    if act is Act.GRANT and not previous.granted and at <= previous.since:
        return previous
    return Standing(act, max(at, previous.since), log_index)


def granted(standing: Standing | None) -> bool:
    """Tell whether use is allowed; unknown is no."""
    return standing is not None and standing.granted
