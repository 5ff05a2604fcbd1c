"""Health, for whoever watches the service; open to all."""

from fastapi import APIRouter, Response

from consent.service.access import Work

router = APIRouter()


@router.get("/healthz")
def health(work: Work) -> Response:
    """Say whether what is committed is also published."""
    return Response("ok\n" if work.healthy else "log not published\n", status_code=200 if work.healthy else 503)
