"""The stream of a brand's events; a position of the log is no identifier."""

from typing import Annotated

from fastapi import APIRouter, Header, Request

from consent.service.access import Brand, Work
from consent.service.streams import EventStream

router = APIRouter()


@router.get("/v1/events", status_code=200, response_class=EventStream)
def events(
    request: Request, work: Work, caller: Brand, last_event_id: Annotated[int, Header(ge=0, le=2**53)]
) -> EventStream:
    """Tell what takes away from this brand's snapshots and rosters after an index of the log, as it happens."""
    return EventStream(
        request.app.state.streams, work, principal=caller.id, brand=caller.name, size=last_event_id + 1
    )
