"""The application: one router per noun, behind one boundary that caps, logs and translates errors."""

import secrets
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from anyio.to_thread import run_sync
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from sqlalchemy.exc import DataError
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute

from consent.clock import Clock, utc_now
from consent.errors import ConsentError
from consent.log.payloads import RandomBytes
from consent.service import problems
from consent.service.access import noun_of, scopes_of
from consent.service.admission import Admission
from consent.service.boundary import Boundary
from consent.service.courier import Courier
from consent.service.limits import QUICK
from consent.service.metrics import Metrics
from consent.service.oidc import OidcVerifier
from consent.service.openapi import describe
from consent.service.questions import Questions
from consent.service.readiness import Watch
from consent.service.remembered import Mark, Remembered
from consent.service.routes import ROUTERS, imports
from consent.service.setup import open_workplace
from consent.service.streams import Streams
from consent.service.targets import Targets
from consent.service.tidying import Tidying
from consent.service.work import Workplace
from consent.settings import ConsentSettings
from consent.wire import Role

TOKENS_MARK = "tokens.mark"


class _Described(FastAPI):
    """Gives a complete description of itself at `/openapi.json`, and no pages that load other people's scripts."""

    def openapi(self) -> dict[str, Any]:
        """Return the description, made once."""
        if self.openapi_schema is None:
            self.openapi_schema = describe(self.title, [route for router in ROUTERS for route in router.routes])
        return self.openapi_schema


def create_app(
    settings: ConsentSettings, *, clock: Clock = utc_now, random_bytes: RandomBytes = secrets.token_bytes
) -> FastAPI:
    """Build the service over what `initialise` created; `app.state.workplace` holds its parts.

    Raises:
        SetupError: it was not initialised.
        LogInconsistentError: the database does not extend the published log.
    """
    app = _Described(title="Confide consent service", docs_url=None, redoc_url=None, lifespan=_closing)
    work = open_workplace(settings, clock=clock, random_bytes=random_bytes)
    metrics = Metrics()
    _assemble(app, settings, work, metrics)
    app.state.gpc_last_update = settings.gpc_last_update
    app.state.enrolment_validity = settings.enrolment_validity
    routes = [route for router in ROUTERS for route in router.routes]
    app.router.routes.extend(sorted(routes, key=_asked_seldom))
    app.state.scopes = {role: scopes_of(routes, role) for role in Role}
    app.add_exception_handler(ConsentError, problems.on_consent_error)
    app.add_exception_handler(RequestValidationError, problems.on_validation_error)
    app.add_exception_handler(DataError, problems.on_unstorable_value)
    app.add_exception_handler(HTTPException, problems.on_http_error)
    oidc = OidcVerifier(settings.oidc) if settings.oidc else None
    remembered = Remembered(Mark(settings.data_dir / TOKENS_MARK))
    app.add_middleware(Admission, work=work, oidc=oidc, remembered=remembered)
    app.add_middleware(
        Boundary,
        max_body_bytes=settings.max_body_bytes,
        streamed={imports.PATH: settings.max_import_bytes},
        answered=metrics.answered,
    )
    return app


def _assemble(app: FastAPI, settings: ConsentSettings, work: Workplace, metrics: Metrics) -> None:
    """Put the parts that requests share where their handlers find them."""
    work.database.committed = metrics.committed
    app.state.workplace, app.state.metrics = work, metrics
    app.state.streams = Streams()
    app.state.questions = Questions(at_hand=work.database.engine.dialect.name == "sqlite")
    app.state.watch = Watch(work, min_free_bytes=settings.min_free_bytes)
    app.state.targets = Targets(loopback=settings.webhook_loopback_ca is not None)
    app.state.courier = Courier(
        work,
        targets=app.state.targets,
        trust=ssl.create_default_context(cafile=settings.webhook_loopback_ca),
        interval=settings.webhook_interval,
        days=settings.webhook_days,
    )
    app.state.tidying = Tidying(work, days=settings.idempotency_days)


def _asked_seldom(route: BaseRoute) -> bool:
    """Tell the routes that are looked for last; routes of one noun keep their order."""
    return not isinstance(route, APIRoute) or noun_of(route) not in QUICK


@asynccontextmanager
async def _closing(app: FastAPI) -> AsyncIterator[None]:
    app.state.courier.start()
    app.state.tidying.start()
    yield
    await run_sync(app.state.tidying.close)
    await run_sync(app.state.courier.close)
    await run_sync(app.state.workplace.close)
