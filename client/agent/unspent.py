"""Telling the consent service that a round has cost nothing: its reservation expired before anything left."""

from datetime import datetime
from typing import Protocol

import structlog

from client.agent.ledger import BrandLedger
from client.agent.trust import BrandIdentity
from consent.contract import Signed, Unspent
from consent.errors import ConsentError

_LOG = structlog.get_logger()


class UnspentDesk(Protocol):
    """Who gives a brand's reservation back."""

    def state_unspent(self, statement: Signed[Unspent]) -> None:
        """Give back what a round reserved; raises when it may still be spent."""
        ...


def state_unspent(ledger: BrandLedger, identity: BrandIdentity, desk: UnspentDesk, now: datetime) -> None:
    """State every round that has expired unused; one that can not be stated now is stated at a later call."""
    for unused in ledger.unused():
        statement = Unspent(
            brand=identity.brand,
            run_id=unused.run_id,
            round=unused.round,
            purpose=unused.purpose,
            stated_at=now,
        )
        try:
            desk.state_unspent(Signed[Unspent].seal(statement, identity.key))
        except ConsentError as error:
            _LOG.warning("an unused round could not be given back yet", code=error.code)
            continue
        ledger.stated(unused)
