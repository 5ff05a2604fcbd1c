"""The published log as static resources; open to all, openings excepted."""

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.responses import FileResponse, Response

from consent.errors import NotFoundError
from consent.log.publisher import CHECKPOINT, VERIFIER_KEY
from consent.log.tiles import is_tile_path
from consent.service import proofs
from consent.service.access import Work
from consent.wire import ConsistencyView

router = APIRouter()
TEXT = "text/plain; charset=utf-8"
FRESH = {"Cache-Control": "no-cache"}
IMMUTABLE = {"Cache-Control": "public, max-age=31536000, immutable"}


@router.get("/v1/log/proofs/{index}")
def proof(index: Annotated[int, Path(ge=0)], work: Work) -> Response:
    """Give the `.tlog-proof` of an entry; an index is no identifier."""
    return Response(proofs.entry_proof(work.publisher.folder, index), media_type=TEXT, headers=FRESH)


@router.get("/v1/log/consistency/{old_size}/{new_size}")
def consistency(
    old_size: Annotated[int, Path(ge=0)], new_size: Annotated[int, Path(ge=0)], work: Work
) -> ConsistencyView:
    """Give the proof that the log of `new_size` entries extends the one of `old_size`."""
    return proofs.consistency(work.publisher.folder, old_size, new_size)


@router.get("/v1/log/{path:path}")
def published(path: str, work: Work) -> FileResponse:
    """Give the checkpoint, the verifier key, a tile or an entry bundle."""
    file = work.publisher.folder / path
    known = path in (CHECKPOINT, VERIFIER_KEY) or is_tile_path(path)
    if not known or not file.is_file():
        raise NotFoundError("There is no such part of the log; a partial tile may have been completed.")
    if path in (CHECKPOINT, VERIFIER_KEY):
        return FileResponse(file, media_type=TEXT, headers=FRESH)
    return FileResponse(file, media_type="application/octet-stream", headers=IMMUTABLE)
