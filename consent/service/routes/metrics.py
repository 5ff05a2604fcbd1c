"""Figures for Prometheus, for who runs the service."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from consent.service.access import Operator, Work
from consent.service.metrics import CONTENT_TYPE, Metrics

router = APIRouter()


def _metrics(request: Request) -> Metrics:
    found: Metrics = request.app.state.metrics
    return found


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def figures(work: Work, _caller: Operator, metrics: Annotated[Metrics, Depends(_metrics)]) -> Response:
    """Give the figures in Prometheus' text format; the scraper sends an operator's API key for `get:metrics`."""
    return Response(metrics.exposition(work), media_type=CONTENT_TYPE)
