"""Consent strings and signals of others: read strictly, mapped to our purposes, and written for them.

Nothing here reads or writes anywhere. Whatever is malformed is a `ConsentStringError` and grants nothing.
"""

from consent.signals.consent_mode import consent_mode
from consent.signals.export import TcIssuer, tc_string_of, us_national_of
from consent.signals.gpc import gpc_applies, gpc_support
from consent.signals.gpp import GppString, decode_gpp_string, encode_gpp_string
from consent.signals.mappings import ConsentModeMapping, OptOut, OptOutMapping, TcfMapping
from consent.signals.meaning import (
    GPC_OPT_OUTS,
    conflicting_grants,
    ended_purposes,
    granted_purposes,
    opt_outs,
)
from consent.signals.tcf import (
    PublisherRestriction,
    PublisherTc,
    RestrictionType,
    TcString,
    decode_tc_string,
    encode_tc_string,
)
from consent.signals.us import UsCalifornia, UsNational
from consent.signals.vendors import VendorSet

__all__ = [
    "GPC_OPT_OUTS",
    "ConsentModeMapping",
    "GppString",
    "OptOut",
    "OptOutMapping",
    "PublisherRestriction",
    "PublisherTc",
    "RestrictionType",
    "TcIssuer",
    "TcString",
    "TcfMapping",
    "UsCalifornia",
    "UsNational",
    "VendorSet",
    "conflicting_grants",
    "consent_mode",
    "decode_gpp_string",
    "decode_tc_string",
    "encode_gpp_string",
    "encode_tc_string",
    "ended_purposes",
    "gpc_applies",
    "gpc_support",
    "granted_purposes",
    "opt_outs",
    "tc_string_of",
    "us_national_of",
]
