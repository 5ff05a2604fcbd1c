"""What the IAB's, California's and Google's terms stand for among our purposes, as a brand declares it."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from consent.contract import ContractModel, Name
from consent.signals.vendors import MAX_VENDOR

TcfPurpose = Annotated[int, Field(ge=1, le=11)]
"""A purpose of the TCF policies 5, numbered 1 to 11; special purposes need no consent and are not among them."""
CmpId = Annotated[int, Field(ge=2, le=4_095)]
"""A consent manager on IAB Europe's list; 0 and 1 are never assigned."""


class TcfMapping(ContractModel):
    """Who we are in TC strings, whose strings count, and what each purpose of ours needs there.

    A purpose needs all of its TCF purposes, at least one. Strings written under another policy version than the
    listed count for nothing: a new version asks customers anew.
    """

    vendor: Annotated[int, Field(ge=1, le=MAX_VENDOR)]
    cmps: Annotated[tuple[CmpId, ...], Field(min_length=1)]
    policy_versions: Annotated[tuple[int, ...], Field(min_length=1)] = (5,)
    purposes: Mapping[Name, Annotated[tuple[TcfPurpose, ...], Field(min_length=1)]]


class OptOut(StrEnum):
    """What a customer in the United States can opt out of."""

    SALE = "sale"
    SHARING = "sharing"
    TARGETED_ADVERTISING = "targeted_advertising"


class OptOutMapping(ContractModel):
    """Which opt-outs end each purpose of ours; any one of them does."""

    purposes: Mapping[Name, Annotated[tuple[OptOut, ...], Field(min_length=1)]]


class ConsentModeMapping(ContractModel):
    """Which purposes of ours, all of them, each of Google's consent types needs; with none it stays denied."""

    ad_storage: tuple[Name, ...] = ()
    ad_user_data: tuple[Name, ...] = ()
    ad_personalization: tuple[Name, ...] = ()
    analytics_storage: tuple[Name, ...] = ()
