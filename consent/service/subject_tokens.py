"""Tokens with which one customer acts for themselves, minted by their brand once it knows who they are.

A token is sealed, not stored: nothing has to be erased with the customer, and its holder can neither read their
pseudonym in it nor write another one. It is AES-256-GCM (NIST SP 800-38D, random 96-bit nonces, so at most 2^32
tokens per payload key) under a key that is derived from the service's payload key. It can not be revoked, and so
ends within the hour.
"""

import base64
import json
from datetime import datetime, timedelta

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from consent.contract import ContractModel, Name, Pseudonym
from consent.credentials import SubjectToken, SubjectTokenRequest
from consent.errors import UnauthenticatedError
from consent.log.payloads import NONCE_BYTES, Vault
from consent.service.reading import log_about
from consent.service.work import Caller, Unit
from consent.wire import Role, SubjectRequest

PREFIX = "cs_"
LABEL = b"confide/v1/subject-token"


class _Content(ContractModel):
    brand: Name
    subject: Pseudonym
    minted_by: int
    expires_at: int


def mint(unit: Unit, caller: Caller, wanted: SubjectTokenRequest) -> SubjectToken:
    """Return a token for a customer, known or not; that it was minted is logged under the customer's own key."""
    expires_at = (unit.now + timedelta(minutes=wanted.minutes)).replace(microsecond=0)
    content = _Content(
        brand=wanted.brand, subject=wanted.subject, minted_by=caller.id, expires_at=int(expires_at.timestamp())
    )
    nonce = unit.random_bytes(NONCE_BYTES)
    key = unit.keys.vault.derived(LABEL)[0]
    sealed = nonce + AESGCM(key).encrypt(nonce, content.canonical_bytes(), LABEL)
    about = {"verified_by": wanted.verified_by, "by": caller.role.value, "expires_at": expires_at.isoformat()}
    log_about(unit, "subject_token_minted", about, SubjectRequest(brand=wanted.brand, subject=wanted.subject))
    return SubjectToken(token=PREFIX + base64.urlsafe_b64encode(sealed).decode(), expires_at=expires_at)


def authenticate_subject(vault: Vault, token: str, now: datetime) -> Caller:
    """Return the customer that a token was minted for.

    Raises:
        UnauthenticatedError: this service did not mint it, or it has ended.
    """
    content = _opened(vault, token)
    if content is None or content.expires_at <= now.timestamp():
        raise UnauthenticatedError("The customer's token does not hold, or not any more; have a new one minted.")
    return Caller(
        id=content.minted_by,
        role=Role.SUBJECT,
        name=content.brand,
        public_key=None,
        brand=content.brand,
        subject=content.subject,
    )


def _opened(vault: Vault, token: str) -> _Content | None:
    text = token.removeprefix(PREFIX)
    try:
        sealed = base64.urlsafe_b64decode(text)
    except ValueError:
        return None
    if base64.urlsafe_b64encode(sealed).decode() != text:
        return None
    for key in vault.derived(LABEL):
        try:
            plain = AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], LABEL)
        except (InvalidTag, ValueError):
            continue
        return _Content.model_validate(json.loads(plain))
    return None
