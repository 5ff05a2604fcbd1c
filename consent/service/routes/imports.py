"""Files of choices, taken in as they come."""

from collections.abc import Iterator
from contextlib import closing
from typing import Annotated

from anyio.to_thread import run_sync
from fastapi import APIRouter, Header, Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response, StreamingResponse

from consent.bulk_import.reading import NDJSON, open_reader
from consent.contract import Name
from consent.errors import InvalidRequestError, UnsupportedMediaError
from consent.service.access import Brand, Work
from consent.service.imports import Import

router = APIRouter()
PATH = "/v1/imports"
PIECE_BYTES = 64 * 1024


@router.post(PATH)
async def take_in(
    request: Request,
    work: Work,
    caller: Brand,
    idempotency_key: Annotated[Name, Header()],
    content_type: Annotated[str, Header()],
    content_encoding: Annotated[str, Header()] = "identity",
    *,
    dry_run: bool = False,
) -> Response:
    """Record a file's rows and answer with a verdict for each; in a dry run, record nothing."""
    if content_encoding.lower() != "identity":
        raise UnsupportedMediaError("Send the file without compression.")
    reader = open_reader(content_type, caller.name)
    coming = Import(work, caller, idempotency_key, reader, dry_run)
    try:
        async for piece in request.stream():
            await run_sync(coming.feed, piece)
        await run_sync(coming.finish)
    except ClientDisconnect:
        coming.close()
        raise InvalidRequestError("The file broke off; send it again under the same key.") from None
    except BaseException:
        coming.close()
        raise
    return StreamingResponse(_pieces(coming), media_type=NDJSON)


def _pieces(done: Import) -> Iterator[bytes]:
    with closing(done):
        while piece := done.answer.read(PIECE_BYTES):
            yield piece
