"""Webhooks: where a brand wants to be told of its customers' choices."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response

from consent.service import webhooks
from consent.service.access import BrandSide, Work, allow
from consent.service.idempotency import OncePerKey
from consent.service.targets import Targets
from consent.service.work import Caller
from consent.webhooks import NewWebhook, WebhookId, WebhookList, WebhookRequest
from consent.wire import Role

router = APIRouter()
Admin = Annotated[Caller, Depends(allow(Role.BRAND_ADMIN))]


def _targets(request: Request) -> Targets:
    found: Targets = request.app.state.targets
    return found


@router.post("/v1/webhooks", response_model=NewWebhook)
def register(
    wanted: WebhookRequest, once: OncePerKey, caller: Admin, targets: Annotated[Targets, Depends(_targets)]
) -> Response:
    """Register an address, and show the secret that signs deliveries once."""
    return once.answer(lambda unit: webhooks.register(unit, str(caller.brand), wanted.url, targets))


@router.get("/v1/webhooks")
def listed(work: Work, caller: BrandSide) -> WebhookList:
    """List the brand's addresses, and how deliveries to them go."""
    with work.reading() as unit:
        return webhooks.listed(unit, str(caller.brand))


@router.delete("/v1/webhooks/{webhook_id}", status_code=204, response_class=Response)
def remove(webhook_id: Annotated[WebhookId, Path()], work: Work, caller: Admin) -> Response:
    """Tell an address nothing any more."""
    with work.writing() as unit:
        webhooks.remove(unit, str(caller.brand), webhook_id)
    return Response(status_code=204)
