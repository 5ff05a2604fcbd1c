"""Answering whether a use is allowed now."""

from collections.abc import Sequence

from consent.contract import Decision, DecisionQuery
from consent.errors import NotFoundError
from consent.service.holding import holdings
from consent.service.work import Caller, Look


def decide(look: Look, caller: Caller, queries: Sequence[DecisionQuery]) -> tuple[Decision, ...]:
    """Answer a brand's questions, in order; what nobody granted is denied.

    Raises:
        NotFoundError: a question is about another brand's customer.
    """
    require_own(caller, queries)
    held = holdings(look.transaction, look.now, caller.name, (query.subject for query in queries))
    return tuple(held.decision(query) for query in queries)


def require_own(caller: Caller, queries: Sequence[DecisionQuery]) -> None:
    """Refuse questions about another brand's customers.

    Raises:
        NotFoundError: there is one.
    """
    if any(query.brand != caller.name for query in queries):
        raise NotFoundError("A question is not about one of this brand's customers.")
