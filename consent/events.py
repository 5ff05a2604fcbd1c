"""What the consent service tells a brand as it happens, for both ends of the stream (WHATWG HTML, section 9.2).

Everything but a position takes away and nothing gives: who missed an event, or heard it twice, allows no more
than who heard it once.
"""

from collections.abc import Iterable, Iterator

from pydantic import AwareDatetime, ValidationError

from consent.contract import Channel, ContractModel, Name, Pseudonym
from consent.errors import UnavailableError

HEARTBEAT_SECONDS = 1.0
"""How often a position is told when nothing else is."""


class Withdrawal(ContractModel):
    """A customer withdrew a purpose or a channel; also told of everybody who is one customer with them."""

    subject: Pseudonym
    purpose: Name | None = None
    channel: Channel | None = None
    log_index: int


class Renewal(ContractModel):
    """A customer granted a purpose until a moment; what they granted before ends then, too."""

    subject: Pseudonym
    purpose: Name
    ends: AwareDatetime
    log_index: int


class Changed(ContractModel):
    """Snapshots of a purpose are stale."""

    purpose: Name
    loses: bool
    """Whether somebody may have lost what they had otherwise than by a withdrawal: by an erasure, a merge, a new
    notice. Who does not know whom, may use nobody until they have asked again."""
    log_index: int


class Position(ContractModel):
    """Everything has been told that the log held at this size."""

    log_size: int


class Reset(ContractModel):
    """What happened before this size of the log is not told any more: ask again for everything."""

    log_size: int


Told = Withdrawal | Renewal | Changed
Event = Told | Position | Reset
KINDS: dict[str, type[Event]] = {
    "withdrawal": Withdrawal,
    "renewal": Renewal,
    "changed": Changed,
    "position": Position,
    "reset": Reset,
}
NAMES = {kind: name for name, kind in KINDS.items()}


def read_events(lines: Iterable[str]) -> Iterator[Event]:
    """Read events from the lines of a stream; kinds that this version does not know are a fault.

    Raises:
        UnavailableError: something else than such an event was sent.
    """
    kind, data = "", ""
    for line in lines:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            kind = value
        elif name == "data":
            data = value
        elif not line and data:
            yield _parse(kind, data)
            kind, data = "", ""


def _parse(kind: str, data: str) -> Event:
    try:
        return KINDS[kind].model_validate_json(data)
    except (KeyError, ValidationError):
        raise UnavailableError(
            "The stream of events is not in a form that this version reads; update it, then connect again."
        ) from None
