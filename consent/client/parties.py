"""Purposes, notices, and who takes part: principals, their keys, customers' tokens and webhooks."""

from consent.client.calls import Calls
from consent.contract import Notice, Purpose
from consent.credentials import (
    ApiKeyList,
    ApiKeyRequest,
    ApiKeyRevocation,
    ApiKeyView,
    NewApiKey,
    SubjectToken,
    SubjectTokenRequest,
    SubjectTokenRevocation,
)
from consent.webhooks import NewWebhook, WebhookList, WebhookRequest, WebhookView
from consent.wire import EnrolledToken, Enrolment, PublishedNotice, Role, ServiceKeys


class PartyCalls(Calls):
    """What is set up before customers choose."""

    def declare_purpose(self, purpose: Purpose) -> None:
        """Declare a purpose; operators."""
        self._act("/v1/purposes", purpose)

    def publish_notice(self, notice: Notice) -> str:
        """Publish a notice and return the hash that grants name; operators and officers."""
        return self._read(PublishedNotice, self._act("/v1/notices", notice)).notice

    def enrol(self, role: Role, name: str, public_key: str | None = None, *, brand: str | None = None) -> str:
        """Enrol a principal, or renew one, and return its token; operators. `brand` is whose admin it is."""
        body = Enrolment(role=role, name=name, public_key=public_key, brand=brand)
        return self._read(EnrolledToken, self._act("/v1/principals", body)).token

    def create_api_key(self, wanted: ApiKeyRequest) -> NewApiKey:
        """Make a key for a program, which is shown this once; everybody but customers."""
        return self._read(NewApiKey, self._act("/v1/api-keys", wanted))

    def api_keys(self) -> tuple[ApiKeyView, ...]:
        """List the caller's keys, or all of a brand's for its admin."""
        return self._read(ApiKeyList, self._get("/v1/api-keys")).keys

    def revoke_api_key(self, key_id: str) -> None:
        """End a key of that list now."""
        self._act("/v1/api-keys/revocation", ApiKeyRevocation(key_id=key_id))

    def mint_subject_token(self, wanted: SubjectTokenRequest) -> SubjectToken:
        """Make a token with which a customer acts for themselves; the customer's brand, and its admins."""
        return self._read(SubjectToken, self._act("/v1/subject-tokens", wanted))

    def revoke_subject_tokens(self, wanted: SubjectTokenRevocation) -> None:
        """End one token of a customer now, or all of them; the customer, their brand, and its admins."""
        self._act("/v1/subject-tokens/revocation", wanted)

    def register_webhook(self, url: str) -> NewWebhook:
        """Have an address told of every choice from now on; shows the signing secret once; admins of brands."""
        return self._read(NewWebhook, self._act("/v1/webhooks", WebhookRequest(url=url)))

    def webhooks(self) -> tuple[WebhookView, ...]:
        """Return the caller's brand's addresses and how deliveries to them go; the brand's side."""
        return self._read(WebhookList, self._get("/v1/webhooks")).webhooks

    def remove_webhook(self, webhook_id: str) -> None:
        """Have an address told nothing any more; admins of brands."""
        self._delete(f"/v1/webhooks/{webhook_id}")

    def service_key(self) -> str:
        """Return the public key under which snapshot heads are signed."""
        return self._read(ServiceKeys, self._get("/v1/keys")).snapshots
