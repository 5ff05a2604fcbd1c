"""Preference signals and consent strings.

What they say anew is recorded and what they repeat changes nothing, with or without an idempotency key; a call
that brings one waits and comes back where the service says so.
"""

from collections.abc import Sequence
from typing import Literal

from consent.client.calls import Calls
from consent.preference_signals import (
    ConfirmationRequest,
    ConsentString,
    ExportedString,
    ExportRequest,
    GpcSignal,
    GppAnswer,
    ImportedString,
    OptOutAnswer,
    SignalMapping,
)


class SignalCalls(Calls):
    """Signals of customers' browsers, and what they mean."""

    def honour_gpc(
        self, brand: str, subject: str, header_values: Sequence[str], *, idempotency_key: str | None = None
    ) -> OptOutAnswer:
        """Forward the `Sec-GPC` values of a customer's request, as received; brands."""
        body = GpcSignal(brand=brand, subject=subject, header_values=tuple(header_values))
        return self._read(OptOutAnswer, self._act_under(idempotency_key, "/v1/signals/gpc", body))

    def opt_out_confirmation(self, brand: str, subject: str) -> OptOutAnswer:
        """Return whether a customer's opt-out is in effect now; brands."""
        body = ConfirmationRequest(brand=brand, subject=subject)
        return self._read(OptOutAnswer, self._ask("/v1/signals/confirmation", body))

    def opt_out_page(self, brand: str, subject: str) -> str:
        """Return the same as a page of HTML to show to the customer; brands."""
        body = ConfirmationRequest(brand=brand, subject=subject, format="html")
        return self._ask("/v1/signals/confirmation", body).decode()

    def import_tcf(
        self, brand: str, subject: str, text: str, *, idempotency_key: str | None = None
    ) -> ImportedString:
        """Record what a customer's TC string says; brands."""
        body = ConsentString(brand=brand, subject=subject, text=text)
        return self._read(ImportedString, self._act_under(idempotency_key, "/v1/signals/tcf", body))

    def import_gpp(self, brand: str, subject: str, text: str, *, idempotency_key: str | None = None) -> GppAnswer:
        """Record what a customer's GPP string says; brands."""
        body = ConsentString(brand=brand, subject=subject, text=text)
        return self._read(GppAnswer, self._act_under(idempotency_key, "/v1/signals/gpp", body))

    def export_string(self, brand: str, subject: str, form: Literal["tcf", "usnat"]) -> ExportedString:
        """Return a consent string written from a customer's choices; brands."""
        body = ExportRequest(brand=brand, subject=subject, format=form)
        return self._read(ExportedString, self._ask("/v1/signals/export", body))

    def declare_signal_mapping(self, brand: str, mapping: SignalMapping) -> None:
        """Declare what signals and strings mean for a brand; officers."""
        self._put(f"/v1/brands/{brand}/signal-mapping", mapping)

    def signal_mapping(self, brand: str) -> SignalMapping:
        """Return what signals and strings mean for a brand; officers, and the brand."""
        return self._read(SignalMapping, self._get(f"/v1/brands/{brand}/signal-mapping"))
