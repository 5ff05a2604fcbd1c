"""The time, as every part takes it in: a function that returns it with its zone."""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Return the time with its zone."""
    return datetime.now(UTC)
