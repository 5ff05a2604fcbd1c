"""Preference signals and consent strings; a customer and a string are named in the body alone."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from starlette.responses import HTMLResponse, JSONResponse

from consent.contract import Name
from consent.errors import NotFoundError
from consent.preference_signals import (
    ConfirmationRequest,
    ConsentString,
    ExportedString,
    ExportRequest,
    GpcSignal,
    GppAnswer,
    ImportedString,
    OptOutAnswer,
    SignalMapping,
)
from consent.service import signal_mappings, signals, string_export, strings
from consent.service.access import Brand, Officer, OfficerOrBrandSide, Work, require_sight
from consent.service.idempotency import OncePerKey
from consent.service.pages import HEADERS, confirmation_page
from consent.service.purposes import declared
from consent.signals import gpc_support

router = APIRouter()
NOT_KEPT = {"Cache-Control": "no-store"}
BrandName = Annotated[Name, Path()]


@router.get("/.well-known/gpc.json")
def gpc(request: Request) -> JSONResponse:
    """Say that Global Privacy Control is honoured, and since when that is said."""
    since = request.app.state.gpc_last_update
    if since is None:
        raise NotFoundError("Nothing is said here of Global Privacy Control; set `gpc_last_update`.")
    return JSONResponse(gpc_support(since))


@router.post("/v1/signals/gpc", response_model=OptOutAnswer)
def honour(sent: GpcSignal, work: Work, once: OncePerKey, caller: Brand) -> Response:
    """Honour a customer's Global Privacy Control; what repeats it, and has no key, is answered by a read."""
    if not once.keyed:
        with work.reading() as unit:
            answered = signals.settled(unit, caller, sent)
        if answered is not None:
            return Response(answered.model_dump_json(), media_type="application/json")
    return once.answer(lambda unit: signals.honour_gpc(unit, caller, sent))


@router.post("/v1/signals/confirmation")
def confirm(wanted: ConfirmationRequest, work: Work, caller: Brand) -> Response:
    """Show whether a customer's opt-out is in effect."""
    with work.reading() as unit:
        answer = signals.confirmation(unit, caller, wanted)
        titles = {purpose.purpose: purpose.title for purpose in declared(unit.session)}
    if wanted.format == "html":
        return HTMLResponse(confirmation_page(answer, titles), headers=HEADERS)
    return Response(answer.model_dump_json(), media_type="application/json", headers=NOT_KEPT)


@router.post("/v1/signals/tcf", response_model=ImportedString)
def import_tcf(sent: ConsentString, once: OncePerKey, caller: Brand) -> Response:
    """Record what a TC string says."""
    string = strings.read_tcf(sent)
    return once.answer(lambda unit: strings.import_tcf(unit, caller, string))


@router.post("/v1/signals/gpp", response_model=GppAnswer)
def import_gpp(sent: ConsentString, once: OncePerKey, caller: Brand) -> Response:
    """Record what a GPP string says."""
    string = strings.read_gpp(sent)
    return once.answer(lambda unit: strings.import_gpp(unit, caller, string))


@router.post("/v1/signals/export")
def export(wanted: ExportRequest, work: Work, caller: Brand) -> ExportedString:
    """Write a string from a customer's choices."""
    with work.writing() as unit:
        return string_export.export(unit, caller, wanted)


@router.put("/v1/brands/{brand}/signal-mapping", status_code=204)
def declare(brand: BrandName, mapping: SignalMapping, work: Work, _caller: Officer) -> None:
    """Declare what signals mean for a brand."""
    with work.writing() as unit:
        signal_mappings.declare(unit, brand, mapping)


@router.get("/v1/brands/{brand}/signal-mapping")
def mapping(brand: BrandName, work: Work, caller: OfficerOrBrandSide) -> SignalMapping:
    """Give what signals mean for a brand."""
    require_sight(caller, brand)
    with work.reading() as unit:
        return signal_mappings.mapping_of(unit.session, brand)
