"""What tests of the log search share: all pages of a search, and what an officer's look at a customer rests on."""

from typing import Any

from rights_desk import request

from consent.client import ConsentClient
from consent.rights import RequestKind
from consent.searching import LogHit, LogQuery


def everything(client: ConsentClient, **wanted: Any) -> list[LogHit]:
    """Return the entries of all pages."""
    found: list[LogHit] = []
    query = LogQuery(**wanted)
    while True:
        page = client.search_log(query)
        assert len(page.entries) <= query.limit
        found += page.entries
        if page.complete:
            return found
        query = query.model_copy(update={"cursor": page.cursor})


def look(world: Any, subject: str, brand: str = "acme") -> dict[str, str]:
    """Return what the officer asks for a customer's entries with: a request that the second officer approved."""
    asked = world.officer.ask_right(request(subject, RequestKind.ACCESS, brand))
    world.second_officer.approve_request(asked.request_id)
    return {"brand": brand, "subject": subject, "request_id": asked.request_id}
