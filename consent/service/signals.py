"""Global Privacy Control of one customer: honouring it, and saying that it was.

The absence of the signal says nothing: neither does it grant, nor does it end an opt-out (11 CCR 7025(c)(5)).
"""

from consent.errors import NotFoundError
from consent.preference_signals import NOT_ASKED, ConfirmationRequest, GpcSignal, OptOutAnswer
from consent.service.opt_outs import GPC_WISH, OptOutState, honour, look
from consent.service.work import Caller, Unit
from consent.signals import gpc_applies
from consent.wire import SubjectRequest


def require_own(caller: Caller, brand: str) -> None:
    """Refuse another brand's customer.

    Raises:
        NotFoundError: the caller is not this brand.
    """
    if brand != caller.name:
        raise NotFoundError("This is not a customer of this brand.")


def settled(unit: Unit, caller: Caller, sent: GpcSignal) -> OptOutAnswer | None:
    """Return the answer to a signal that changes nothing, or None to one that has to be honoured.

    A browser sends the signal with every request: most of them need no write (W3C draft, "Implementation
    Considerations").

    Raises:
        NotFoundError: it is another brand's customer.
    """
    require_own(caller, sent.brand)
    if not gpc_applies(sent.header_values):
        return OptOutAnswer(honored=False, message=NOT_ASKED)
    state = _look(unit, sent)
    return state.answer() if state.settled else None


def honour_gpc(unit: Unit, caller: Caller, sent: GpcSignal) -> OptOutAnswer:
    """Withdraw what Global Privacy Control ends for a customer; raises as `settled` does."""
    answered = settled(unit, caller, sent)
    if answered is not None:
        return answered
    return honour(unit, SubjectRequest(brand=sent.brand, subject=sent.subject), GPC_WISH)


def confirmation(unit: Unit, caller: Caller, wanted: ConfirmationRequest) -> OptOutAnswer:
    """Say whether a customer's opt-out is in effect at this moment.

    Raises:
        NotFoundError: it is another brand's customer.
    """
    require_own(caller, wanted.brand)
    return _look(unit, wanted).answer()


def _look(unit: Unit, about: GpcSignal | ConfirmationRequest) -> OptOutState:
    return look(unit, SubjectRequest(brand=about.brand, subject=about.subject), GPC_WISH)
