"""What a brand is told of its customers' choices, and how it knows that it was this service that told.

Signatures follow Standard Webhooks 1.0: HMAC-SHA-256 over identifier, time and body, under a secret that the brand
was given when it registered its address. A delivery may come twice and brings its events in the order of the log;
`log_index` tells which of them are known already.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated

from pydantic import AwareDatetime, Field, ValidationError

from consent.contract import Act, Channel, ContractModel, Digest, Name, Pseudonym
from consent.errors import InvalidRequestError, SignatureError

SECRET_PREFIX = "whsec_"  # noqa: S105 - what every secret begins with
SECRET_BYTES = 32
REPLAY_WINDOW = timedelta(minutes=5)
MAX_EVENTS = 500
MAX_STAMP = 12
"""Digits of a time; enough for thousands of years."""
WebhookId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]


class WebhookRequest(ContractModel):
    """An address to tell of every choice that is recorded from now on."""

    url: Annotated[str, Field(min_length=9, max_length=2_000, pattern=r"^https://[!-~]+$")]


class NewWebhook(ContractModel):
    """A registered address, with the secret that signs what is sent there; shown this once."""

    webhook_id: WebhookId
    url: str
    secret: str


class WebhookView(ContractModel):
    """A registered address and how deliveries to it go."""

    webhook_id: WebhookId
    url: str
    active: bool
    """False once it was given up; register it anew to be told again."""
    failures: int
    """Attempts that failed since the last one that did not."""
    next_at: AwareDatetime | None
    """When the next attempt is made after one that failed."""
    delivered: int
    """Choices with a log index below this one were delivered."""


class WebhookList(ContractModel):
    """A brand's addresses."""

    webhooks: tuple[WebhookView, ...]


class ChoiceEvent(ContractModel):
    """A recorded choice of one of the brand's customers."""

    log_index: int
    subject: Pseudonym
    act: Act
    purpose: Name | None
    channel: Channel | None
    notice: Digest | None
    collection_point: Name | None
    expires_at: AwareDatetime | None
    recorded_at: AwareDatetime


class ChoiceEvents(ContractModel):
    """The body of a delivery: choices, in the order of the log."""

    events: Annotated[tuple[ChoiceEvent, ...], Field(min_length=1, max_length=MAX_EVENTS)]


def sign(secret: str, identifier: str, at: datetime, body: bytes) -> dict[str, str]:
    """Return the headers that sign a delivery (Standard Webhooks 1.0, "Signature scheme")."""
    stamp = str(int(at.timestamp()))
    signature = base64.b64encode(_mac(secret, identifier, stamp, body)).decode()
    return {"webhook-id": identifier, "webhook-timestamp": stamp, "webhook-signature": f"v1,{signature}"}


def verify(headers: Mapping[str, str], body: bytes, secret: str, now: datetime) -> ChoiceEvents:
    """Return what a delivery says, once it is certain that it is from the service, and recent.

    Args:
        headers: of the request; names in any case.
        body: exactly as received.
        secret: the one shown when the address was registered.
        now: the receiver's time, with its zone.

    Raises:
        SignatureError: it is not signed with this secret, or lies over five minutes from `now`.
        InvalidRequestError: it is signed and not in the form of this version.
    """
    sent = {name.lower(): value for name, value in headers.items()}
    identifier, stamp = sent.get("webhook-id", ""), sent.get("webhook-timestamp", "")
    signatures = sent.get("webhook-signature", "").split()
    if not (stamp.isascii() and stamp.isdecimal() and len(stamp) <= MAX_STAMP):
        raise SignatureError("The delivery carries no time; refuse it.")
    expected = _mac(secret, identifier, stamp, body)
    if not any(hmac.compare_digest(expected, _decoded(one)) for one in signatures):
        raise SignatureError("The delivery is not signed with this webhook's secret; refuse it.")
    if abs(now.timestamp() - int(stamp)) > REPLAY_WINDOW.total_seconds():
        raise SignatureError("The delivery is too old, or from the future; refuse it and set the clock.")
    try:
        return ChoiceEvents.model_validate_json(body)
    except ValidationError:
        raise InvalidRequestError(
            "The delivery is not in the form of this version; update the receiver."
        ) from None


def _mac(secret: str, identifier: str, stamp: str, body: bytes) -> bytes:
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    return hmac.digest(key, f"{identifier}.{stamp}.".encode() + body, hashlib.sha256)


def _decoded(signature: str) -> bytes:
    """Return the bytes of a signature; of one of another version, none."""
    version, _, encoded = signature.partition(",")
    try:
        return base64.b64decode(encoded, validate=True) if version == "v1" else b""
    except (binascii.Error, ValueError):
        return b""
