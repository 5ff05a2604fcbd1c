"""Delivering choices to webhooks beside the requests: by one process at a time, one batch per address."""

import fcntl
import secrets
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager

import anyio
import httpx
from anyio.from_thread import BlockingPortal, start_blocking_portal
from anyio.to_thread import run_sync
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from consent.errors import ConsentError
from consent.service import webhooks
from consent.service.logbook import logbook
from consent.service.targets import TargetRefusedError, Targets
from consent.service.webhooks import Delivery
from consent.service.work import Workplace
from consent.webhooks import sign

DEADLINE = 10.0
"""Seconds that a receiver has for its answer, from the look-up of its name on."""
GONE = 410
LOCK = ".webhooks.lock"
LOCK_NUMBER = 0x636F6E66696465
"""Of PostgreSQL's advisory lock."""
LEAST_JITTER = 0.5


class Courier:
    """Delivers what is due, until it is closed.

    Args:
        work: the service's parts, over all brands.
        targets: judges where may be connected to.
        trust: the certificate authorities of receivers.
        interval: seconds between looks at what is due.
        days: after so many days of failures an address is given up.
        jitter: draws the share of a pause that is waited.
    """

    def __init__(
        self,
        work: Workplace,
        *,
        targets: Targets,
        trust: ssl.SSLContext,
        interval: float,
        days: int,
        jitter: Callable[[], float] = lambda: secrets.SystemRandom().uniform(LEAST_JITTER, 1),
    ) -> None:
        self._work = work
        self._targets = targets
        self._trust = trust
        self._interval = interval
        self._most = webhooks.failures_within(days)
        self._jitter = jitter
        self._scanned: Mapping[str, int] = {}
        self._resources = ExitStack()
        self._running: Future[None] | None = None

    def start(self) -> None:
        """Deliver from now on, in a thread of its own."""
        portal: BlockingPortal = self._resources.enter_context(start_blocking_portal())
        self._running = portal.start_task_soon(self._forever)

    def close(self) -> None:
        """Stop at once; what is under way is delivered again by who comes next."""
        if self._running is not None:
            self._running.cancel()
        self._resources.close()

    def deliver_due(self) -> int:
        """Deliver what is due now; return how many batches were tried."""
        return anyio.run(self._pass)

    async def _forever(self) -> None:
        while True:
            try:
                tried = await self._pass()
            except (ConsentError, SQLAlchemyError, OSError) as error:
                logbook().error("webhooks_failed", fault=type(error).__name__)
                tried = 0
            await anyio.sleep(0 if tried else self._interval)

    async def _pass(self) -> int:
        with ExitStack() as held:
            if not await run_sync(held.enter_context, _alone(self._work)):
                return 0
            deliveries = await run_sync(self._due)
            async with anyio.create_task_group() as tasks:
                for delivery in deliveries:
                    tasks.start_soon(self._deliver, delivery)
            return len(deliveries)

    def _due(self) -> Sequence[Delivery]:
        with self._work.reading() as unit:
            found = webhooks.due(unit, self._scanned)
        self._scanned = found.scanned
        return found.deliveries

    async def _deliver(self, delivery: Delivery) -> None:
        status: int | None = None
        try:
            with anyio.fail_after(DEADLINE):
                status = await self._post(delivery)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, TargetRefusedError) as error:
            logbook().warning("webhook_failed", webhook=delivery.webhook_id, fault=type(error).__name__)
        await run_sync(self._note, delivery, status)

    async def _post(self, delivery: Delivery) -> int:
        """Send a batch to the address that was judged, under the name that was given, and return the status."""
        url = self._targets.check_url(delivery.url)
        address = await self._targets.pinned(url)
        body = delivery.body.model_dump_json().encode()
        headers = sign(delivery.secret, delivery.identifier, self._work.clock(), body)
        headers |= {"Content-Type": "application/json", "Host": url.netloc.decode()}
        async with httpx.AsyncClient(verify=self._trust, trust_env=False, timeout=DEADLINE) as http:
            pinned, named = url.copy_with(host=address), {"sni_hostname": url.host}
            request = http.build_request("POST", pinned, content=body, headers=headers, extensions=named)
            response = await http.send(request, stream=True, follow_redirects=False)
            await response.aclose()
            return response.status_code

    def _note(self, delivery: Delivery, status: int | None) -> None:
        with self._work.writing() as unit:
            if status is not None and httpx.codes.is_success(status):
                webhooks.succeeded(unit, delivery)
            else:
                webhooks.failed(unit, delivery, most=self._most, jitter=self._jitter(), gone=status == GONE)


@contextmanager
def _alone(work: Workplace) -> Iterator[bool]:
    """Tell whether nobody else delivers, and keep others off while that is so."""
    if work.database.engine.dialect.name == "sqlite":
        with (work.publisher.folder.parent / LOCK).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True
        return
    with work.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        number = {"number": LOCK_NUMBER}
        mine = bool(connection.scalar(text("SELECT pg_try_advisory_lock(:number)"), number))
        try:
            yield mine
        finally:
            if mine:
                connection.execute(text("SELECT pg_advisory_unlock(:number)"), number)
