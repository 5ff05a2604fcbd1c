"""What customers can demand, for themselves or by somebody who verified who they are."""

from consent.client.calls import Calls
from consent.rights import (
    AccessRequest,
    AccessStatement,
    ControllerFacts,
    Objection,
    ReceiptRequest,
    RequestsView,
    RightsRequest,
    RightsRequestView,
    Withdrawn,
)
from consent.wire import SubjectRequest


class RightsCalls(Calls):
    """Receipts, statements, withdrawals, objections, and requests that a second person decides."""

    def record_controller(self, brand: str, facts: ControllerFacts) -> None:
        """Record who answers for a brand; officers, and the brand and its admins."""
        self._put(f"/v1/brands/{brand}/controller", facts)

    def receipt(self, wanted: ReceiptRequest) -> bytes:
        """Return a record or receipt as JSON-LD; officers, the brand and its admins, the customer."""
        return self._ask("/v1/receipts", wanted)

    def access(self, wanted: AccessRequest) -> AccessStatement:
        """Return everything about a customer; the customer, or with an approved request officers and the brand."""
        return self._read(AccessStatement, self._ask("/v1/subjects/access", wanted))

    def access_page(self, wanted: AccessRequest) -> str:
        """Return the same as a page to print."""
        return self._ask("/v1/subjects/access/page", wanted).decode()

    def withdraw_everything(self, brand: str, subject: str) -> Withdrawn:
        """Withdraw all purposes and channels; the customer, officers, the brand and its admins."""
        body = SubjectRequest(brand=brand, subject=subject)
        return self._read(Withdrawn, self._act("/v1/subjects/withdrawal", body))

    def object_to(self, wanted: Objection) -> Withdrawn:
        """Deny purposes that a customer objects to; callers as for a withdrawal."""
        return self._read(Withdrawn, self._act("/v1/subjects/objection", wanted))

    def ask_right(self, wanted: RightsRequest) -> RightsRequestView:
        """Ask for a copy or an erasure on behalf of a customer; officers, the brand and its admins."""
        return self._read(RightsRequestView, self._act("/v1/requests", wanted))

    def requests(self) -> tuple[RightsRequestView, ...]:
        """Return the newest requests; officers, the brand and its admins."""
        return self._read(RequestsView, self._get("/v1/requests")).requests

    def approve_request(self, request_id: str) -> RightsRequestView:
        """Approve what somebody else asked for; an erasure is done before this returns."""
        return self._read(RightsRequestView, self._act(f"/v1/requests/{request_id}/approve"))

    def reject_request(self, request_id: str) -> RightsRequestView:
        """Reject a request, or take one's own back."""
        return self._read(RightsRequestView, self._act(f"/v1/requests/{request_id}/reject"))
