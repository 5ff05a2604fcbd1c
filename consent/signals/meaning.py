"""What decoded strings say about our purposes: TC strings may grant, GPP's US sections and GPC only end.

Legitimate interest never counts as consent. What is not said is not granted.
"""

from collections.abc import Collection

from consent.signals.gpp import GppString
from consent.signals.mappings import OptOut, OptOutMapping, TcfMapping
from consent.signals.tcf import RestrictionType, TcString
from consent.signals.us import OPTED_OUT, UsCalifornia, UsNational

DEVICE_STORAGE = 1
"""Purpose 1 of the TCF: store or access information on a device."""
GPC_OPT_OUTS = frozenset(OptOut)
"""GPC asks not to sell, not to share, and not to target across parties (W3C draft, "Definitions")."""


def granted_purposes(tc: TcString | None, mapping: TcfMapping) -> dict[str, bool]:
    """Tell for each declared purpose whether the string grants it; without a string none is.

    A purpose is granted where a declared consent manager wrote the string under a declared policy version, the
    vendor was disclosed and has the customer's consent, and so has every TCF purpose that is needed, without a
    publisher restriction that takes it back.
    """
    if tc is None or not _counts(tc, mapping):
        return dict.fromkeys(mapping.purposes, False)
    return {
        name: all(_consented(tc, mapping.vendor, purpose) for purpose in needed)
        for name, needed in mapping.purposes.items()
    }


def opt_outs(gpp: GppString) -> frozenset[OptOut]:
    """Return what the usnat and usca sections opt out of, together; other sections say nothing."""
    found: frozenset[OptOut] = frozenset()
    if gpp.us_national is not None:
        found |= _national_opt_outs(gpp.us_national)
    if gpp.us_california is not None:
        found |= _californian_opt_outs(gpp.us_california)
    return found


def ended_purposes(found: Collection[OptOut], mapping: OptOutMapping) -> frozenset[str]:
    """Return the purposes that these opt-outs end."""
    return frozenset(name for name, ends in mapping.purposes.items() if any(end in found for end in ends))


def conflicting_grants(
    found: Collection[OptOut], granted: Collection[str], mapping: OptOutMapping
) -> frozenset[str]:
    """Return the granted purposes that these opt-outs end: the conflicts to record and to show to the customer."""
    return ended_purposes(found, mapping) & frozenset(granted)


def _counts(tc: TcString, mapping: TcfMapping) -> bool:
    return (
        tc.cmp_id in mapping.cmps
        and tc.policy_version in mapping.policy_versions
        and mapping.vendor in tc.disclosed_vendors
        and mapping.vendor in tc.vendors_consent
    )


def _consented(tc: TcString, vendor: int, purpose: int) -> bool:
    undisclosed = purpose == DEVICE_STORAGE and tc.purpose_one_treatment
    taken_back = any(
        restriction.purpose == purpose
        and restriction.kind is not RestrictionType.REQUIRE_CONSENT
        and vendor in restriction.vendors
        for restriction in tc.publisher_restrictions
    )
    return purpose in tc.purposes_consent and not undisclosed and not taken_back


def _national_opt_outs(section: UsNational) -> frozenset[OptOut]:
    if section.gpc:
        return GPC_OPT_OUTS
    answers = {
        OptOut.SALE: section.sale_opt_out,
        OptOut.SHARING: section.sharing_opt_out,
        OptOut.TARGETED_ADVERTISING: section.targeted_advertising_opt_out,
    }
    return frozenset(right for right, answer in answers.items() if answer == OPTED_OUT)


def _californian_opt_outs(section: UsCalifornia) -> frozenset[OptOut]:
    if section.gpc:
        return GPC_OPT_OUTS
    found = {OptOut.SALE} if section.sale_opt_out == OPTED_OUT else set()
    if section.sharing_opt_out == OPTED_OUT:
        # California has no field for targeted advertising: "sharing" is its word for it, Civ. Code 1798.140(ah).
        found |= {OptOut.SHARING, OptOut.TARGETED_ADVERTISING}
    return frozenset(found)
