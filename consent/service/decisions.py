"""Answering whether a use is allowed now."""

from collections.abc import Mapping, Sequence

from sqlalchemy import select

from consent.contract import Decision, DecisionQuery, DecisionReason
from consent.errors import NotFoundError
from consent.service.choices import CHANNEL, PURPOSE, Key, standings
from consent.service.standing import Standing, granted
from consent.service.work import Caller, Unit
from consent.store.schema import PurposeRow


def decide(unit: Unit, caller: Caller, queries: Sequence[DecisionQuery]) -> tuple[Decision, ...]:
    """Answer a brand's questions, in order; what nobody granted is denied.

    Raises:
        NotFoundError: a question is about another brand's customer.
    """
    if any(query.brand != caller.name for query in queries):
        raise NotFoundError("A question is not about one of this brand's customers.")
    declared = set(unit.session.scalars(select(PurposeRow.purpose)))
    held = standings(unit.session, caller.name, (query.subject for query in queries))
    return tuple(_answer(query, declared, held) for query in queries)


def _answer(query: DecisionQuery, declared: set[str], held: Mapping[Key, Standing]) -> Decision:
    if query.purpose not in declared:
        return Decision(allowed=False, reason=DecisionReason.UNKNOWN_PURPOSE)
    standing = held.get((PURPOSE, query.purpose, query.subject))
    if standing is None:
        return Decision(allowed=False, reason=DecisionReason.NO_GRANT)
    if not standing.granted:
        return Decision(allowed=False, reason=DecisionReason.WITHDRAWN)
    if query.channel and not granted(held.get((CHANNEL, query.channel.value, query.subject))):
        return Decision(allowed=False, reason=DecisionReason.CHANNEL_NOT_ALLOWED)
    return Decision(allowed=True, reason=DecisionReason.GRANTED, log_index=standing.log_index)
