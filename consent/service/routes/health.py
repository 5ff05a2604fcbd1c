"""Health, for whoever watches the service; open to all, since it tells of no brand and no customer."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from consent.service.readiness import Readiness, Watch

router = APIRouter()


def _watch(request: Request) -> Watch:
    found: Watch = request.app.state.watch
    return found


@router.get("/healthz", response_class=Response, responses={200: {"content": {"text/plain": {"example": "ok\n"}}}})
def alive() -> Response:
    """Say that the process answers."""
    return Response("ok\n", media_type="text/plain")


@router.get("/readyz", responses={503: {"model": Readiness, "description": "A part can not do its work."}})
def ready(response: Response, watch: Annotated[Watch, Depends(_watch)]) -> Readiness:
    """Say whether requests should be sent here, and how each part is."""
    readiness = watch.readiness()
    if not readiness.ready:
        response.status_code = 503
    return readiness
