"""The published log as static resources; open to all, openings excepted."""

from fastapi import APIRouter
from starlette.responses import FileResponse

from consent.errors import NotFoundError
from consent.log.publisher import CHECKPOINT, VERIFIER_KEY
from consent.log.tiles import is_tile_path
from consent.service.access import Work

router = APIRouter()
TEXT = "text/plain; charset=utf-8"
IMMUTABLE = {"Cache-Control": "public, max-age=31536000, immutable"}


@router.get("/v1/log/{path:path}")
def published(path: str, work: Work) -> FileResponse:
    """Give the checkpoint, the verifier key, a tile or an entry bundle."""
    file = work.publisher.folder / path
    known = path in (CHECKPOINT, VERIFIER_KEY) or is_tile_path(path)
    if not known or not file.is_file():
        raise NotFoundError("There is no such part of the log; a partial tile may have been completed.")
    if path in (CHECKPOINT, VERIFIER_KEY):
        return FileResponse(file, media_type=TEXT, headers={"Cache-Control": "no-cache"})
    return FileResponse(file, media_type="application/octet-stream", headers=IMMUTABLE)
