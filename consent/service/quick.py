"""Routes that are asked thousands of times a second, without what a framework does for every other one."""

from collections.abc import Callable, Coroutine
from typing import Any, get_type_hints

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.responses import Response

from consent.service import problems
from consent.service.access import Allow, workplace
from consent.service.questions import questions

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class QuickRoute(APIRoute):
    """A route whose handler takes batch, workplace, caller and questions, and gives an answer valid by its type.

    The body is read into the batch at once and the answer is written as it is; both are described and refused as
    those of every other route.
    """

    def get_route_handler(self) -> Handler:
        """Return what answers a request."""
        endpoint = self.endpoint
        kind: type[BaseModel] = get_type_hints(endpoint)["batch"]
        (allow,) = (each.call for each in self.dependant.dependencies if isinstance(each.call, Allow))

        async def handle(request: Request) -> Response:
            caller = await allow(request)
            batch = _read(kind, request, await request.body())
            work = await workplace(request)
            answer: BaseModel = await endpoint(batch, work, caller, questions(request))
            return Response(answer.model_dump_json(), media_type="application/json")

        return handle


def _read(kind: type[BaseModel], request: Request, body: bytes) -> BaseModel:
    if problems.not_json(request):
        raise RequestValidationError([])
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        places = error.errors(include_url=False, include_context=False, include_input=False)
        raise RequestValidationError([{**place, "loc": ("body", *place["loc"])} for place in places]) from None
