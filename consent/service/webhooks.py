"""The addresses that brands want told of their customers' choices, and how far each of them was told."""

import base64
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import func, or_, select, update

from consent.contract import Act, Channel
from consent.errors import ConflictError, NotFoundError
from consent.log.store import read_head
from consent.service.holding import PURPOSE
from consent.service.targets import Targets
from consent.service.work import Unit
from consent.store.callers import WebhookRow
from consent.store.schema import ChoiceRow
from consent.webhooks import (
    MAX_EVENTS,
    SECRET_BYTES,
    SECRET_PREFIX,
    ChoiceEvent,
    ChoiceEvents,
    NewWebhook,
    WebhookList,
    WebhookView,
)

MOST = 10
"""Addresses of one brand."""
LONGEST_PAUSE = 3_600
"""Seconds between attempts, however often they failed."""


class Delivery(NamedTuple):
    """Choices that an address is to be told of next."""

    webhook_id: str
    url: str
    secret: str
    body: ChoiceEvents
    delivered: int
    failures: int

    @property
    def identifier(self) -> str:
        """The same for the same choices, so that a receiver can tell a repeat."""
        events = self.body.events
        return f"{self.webhook_id}.{events[0].log_index}.{events[-1].log_index}"


def register(unit: Unit, brand: str, url: str, targets: Targets) -> NewWebhook:
    """Register an address for the choices from now on, and return the secret that signs deliveries.

    Raises:
        InvalidRequestError: the service does not connect to such an address.
        ConflictError: the brand has too many.
    """
    host = targets.check_url(url).host
    unit.lock()
    count = unit.session.scalar(select(func.count()).select_from(WebhookRow).where(WebhookRow.brand == brand))
    if (count or 0) >= MOST:
        raise ConflictError(f"A brand has at most {MOST} webhooks; remove one first.")
    webhook_id, raw = secrets.token_hex(16), unit.random_bytes(SECRET_BYTES)
    secret = SECRET_PREFIX + base64.b64encode(raw).decode()
    index = unit.log("webhook_registered", {"brand": brand, "webhook": webhook_id, "host": host})
    unit.session.add(
        WebhookRow(
            webhook_id=webhook_id,
            brand=brand,
            url=url,
            secret=unit.keys.vault.seal_secret(webhook_id, secret.encode()),
            delivered=index + 1,
            failures=0,
            next_at=None,
            active=True,
            log_index=index,
        )
    )
    unit.session.flush()
    return NewWebhook(webhook_id=webhook_id, url=url, secret=secret)


def listed(unit: Unit, brand: str) -> WebhookList:
    """List a brand's addresses, in the order in which they were registered."""
    rows = unit.session.scalars(select(WebhookRow).where(WebhookRow.brand == brand).order_by(WebhookRow.log_index))
    return WebhookList(
        webhooks=tuple(
            WebhookView(
                webhook_id=row.webhook_id,
                url=row.url,
                active=row.active,
                failures=row.failures,
                next_at=row.next_at,
                delivered=row.delivered,
            )
            for row in rows
        )
    )


def remove(unit: Unit, brand: str, webhook_id: str) -> None:
    """Tell an address nothing any more.

    Raises:
        NotFoundError: the brand has no such webhook.
    """
    row = unit.session.get(WebhookRow, webhook_id)
    if row is None or row.brand != brand:
        raise NotFoundError("There is no such webhook.")
    unit.log("webhook_removed", {"brand": brand, "webhook": webhook_id})
    unit.session.delete(row)
    unit.session.flush()


class Due(NamedTuple):
    """What is to be delivered now, to each address at most one batch."""

    deliveries: Sequence[Delivery]
    scanned: Mapping[str, int]
    """By webhook, the index below which no choice waits for it."""


def due(unit: Unit, scanned: Mapping[str, int]) -> Due:
    """Return what is to be delivered now.

    Args:
        unit: a unit that sees all brands.
        scanned: what the last look returned; spares looking again.
    """
    size = read_head(unit.session).size
    waiting = or_(WebhookRow.next_at.is_(None), WebhookRow.next_at <= unit.now)
    found, idle = [], {}
    for row in unit.session.scalars(select(WebhookRow).where(WebhookRow.active.is_(True), waiting)):
        events = _events(unit, row.brand, max(row.delivered, scanned.get(row.webhook_id, 0)))
        if events:
            secret = unit.keys.vault.open_secret(row.webhook_id, row.secret).decode()
            body = ChoiceEvents(events=events)
            found.append(Delivery(row.webhook_id, row.url, secret, body, row.delivered, row.failures))
        else:
            idle[row.webhook_id] = size
    return Due(found, idle)


def succeeded(unit: Unit, delivery: Delivery) -> None:
    """Go on after the delivered choices."""
    last = delivery.body.events[-1].log_index
    _mark(unit, delivery, {"delivered": last + 1, "failures": 0, "next_at": None})


def failed(unit: Unit, delivery: Delivery, *, most: int, jitter: float, gone: bool) -> None:
    """Wait before the next attempt; give the address up, and log that, where it failed too often or is gone.

    Args:
        unit: a unit that sees all brands.
        delivery: what was not delivered.
        most: failures in a row after which an address is given up.
        jitter: share of the pause that is waited, in (0, 1].
        gone: whether the receiver says that nobody listens there any more.
    """
    failures = delivery.failures + 1
    given_up = gone or failures >= most
    pause = timedelta(seconds=pause_after(failures) * jitter)
    values = {"failures": failures, "next_at": None if given_up else unit.now + pause, "active": not given_up}
    brand = _mark(unit, delivery, values)
    if given_up and brand is not None:
        unit.log("webhook_disabled", {"brand": brand, "webhook": delivery.webhook_id, "failures": failures})


def pause_after(failures: int) -> int:
    """Return the seconds to wait after so many failures in a row, before jitter."""
    return min(1 << min(failures, 30), LONGEST_PAUSE)


def failures_within(days: int) -> int:
    """Return how many failures in a row fill so many days with pauses."""
    left, failures = timedelta(days=days).total_seconds(), 0
    while left > 0:
        failures += 1
        left -= pause_after(failures)
    return failures


def reseal(unit: Unit) -> None:
    """Put every secret under the payload key that wraps now."""
    for row in unit.session.scalars(select(WebhookRow)):
        secret = unit.keys.vault.open_secret(row.webhook_id, row.secret)
        row.secret = unit.keys.vault.seal_secret(row.webhook_id, secret)
    unit.session.flush()


def _events(unit: Unit, brand: str, start: int) -> tuple[ChoiceEvent, ...]:
    rows = unit.session.scalars(
        select(ChoiceRow)
        .where(ChoiceRow.brand == brand, ChoiceRow.log_index >= start)
        .order_by(ChoiceRow.log_index)
        .limit(MAX_EVENTS)
    )
    return tuple(_event(row) for row in rows)


def _event(row: ChoiceRow) -> ChoiceEvent:
    return ChoiceEvent(
        log_index=row.log_index,
        subject=row.subject,
        act=Act(row.act),
        purpose=row.scope if row.kind == PURPOSE else None,
        channel=None if row.kind == PURPOSE else Channel(row.scope),
        notice=row.notice,
        collection_point=row.collection_point,
        expires_at=row.expires_at,
        recorded_at=row.recorded_at,
    )


def _mark(unit: Unit, delivery: Delivery, values: Mapping[str, bool | int | datetime | None]) -> str | None:
    """Change an address that nobody changed meanwhile; return whose it is."""
    unit.lock()
    row = unit.session.get(WebhookRow, delivery.webhook_id)
    if row is None or row.delivered != delivery.delivered:
        return None
    unit.session.execute(
        update(WebhookRow).where(WebhookRow.webhook_id == delivery.webhook_id).values(dict(values)),
        execution_options={"synchronize_session": False},
    )
    return row.brand
