"""Requests and answers around deciding without asking, for both of its ends."""

from consent.contract import ContractModel, Name, Roster, RosterHead, Signed


class RosterRequest(ContractModel):
    """The purpose for which a brand wants to decide by itself."""

    purpose: Name


class RosterView(ContractModel):
    """A brand's own roster under its signed head."""

    head: Signed[RosterHead]
    roster: Roster
