"""How brands, coordinator, officers and operators ask the consent service, over HTTP or in process."""

from consent.client.calls import ERRORS
from consent.client.customers import CustomerCalls
from consent.client.oversight import OversightCalls
from consent.client.parties import PartyCalls
from consent.client.patience import IMPATIENT, PATIENT, Patience
from consent.client.remedies import RemedyCalls
from consent.client.rights import RightsCalls
from consent.client.rounds import RoundCalls
from consent.client.signals import SignalCalls

__all__ = ["ERRORS", "IMPATIENT", "PATIENT", "ConsentClient", "Patience"]


class ConsentClient(PartyCalls, CustomerCalls, SignalCalls, RoundCalls, OversightCalls, RightsCalls, RemedyCalls):
    """One principal's access to the service; every method raises the error that the service named.

    What changes something is sent under an idempotency key, so that it can be sent again without a second effect.
    Such a call, and one whose method is idempotent, waits and comes back where the service says when to; see
    `consent.client.patience`. A question by POST is refused at once: who asks it may not have the time.

    Args:
        http: a client whose base URL is the service's; see `consent.transport` for one without sockets.
        token: the principal's bearer token.
        patience: how long one call waits altogether.
    """
