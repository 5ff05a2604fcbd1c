"""One normalized event, whatever source it came from."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator

ORDER_COMPLETED = "Order Completed"
PRODUCT_VIEWED = "Product Viewed"
PRODUCT_ADDED = "Product Added"
EMAIL_SENT = "Email Sent"
EMAIL_OPENED = "Email Opened"
EMAIL_CLICKED = "Email Clicked"
CUSTOMER_UPDATED = "Customer Updated"

MAX_ID_LENGTH = 256
EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
"""Timestamps before this are clock errors, not history."""


class Source(StrEnum):
    """Where a brand's events come from."""

    WEB = "web"
    APP = "app"
    CRM = "crm"
    POS = "pos"
    EMAIL = "email"


class Kind(StrEnum):
    """The six calls of the Segment specification (segment.com/docs/connections/spec)."""

    IDENTIFY = "identify"
    TRACK = "track"
    PAGE = "page"
    SCREEN = "screen"
    GROUP = "group"
    ALIAS = "alias"


def _utc(at: datetime) -> datetime:
    return at.astimezone(UTC)


Id = Annotated[str, Field(min_length=1, max_length=MAX_ID_LENGTH, pattern=r"^\S")]
UtcDatetime = Annotated[AwareDatetime, Field(ge=EARLIEST), AfterValidator(_utc)]


class Event(BaseModel):
    """A validated event: who (a device, a customer or both), what, and when in UTC.

    `value` is money in the brand's currency. `properties` are kept as they came.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    message_id: Id
    source: Source
    kind: Kind = Kind.TRACK
    name: Annotated[str, Field(min_length=1, max_length=200)]
    anonymous_id: Id | None = None
    user_id: Id | None = None
    previous_id: Id | None = None
    at: UtcDatetime
    value: float | None = None
    properties: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _has_someone(self) -> Self:
        if self.anonymous_id is None and self.user_id is None:
            raise ValueError("an event needs a user id or an anonymous id")
        return self
