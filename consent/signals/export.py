"""Strings written from stored choices; read back, they never grant more than was stored."""

from collections.abc import Collection
from datetime import UTC, date, datetime, time
from typing import Annotated

from pydantic import Field

from consent.contract import ContractModel
from consent.signals.mappings import CmpId, OptOut, OptOutMapping, TcfMapping
from consent.signals.meaning import GPC_OPT_OUTS
from consent.signals.tcf import TcString
from consent.signals.us import NOT_OPTED_OUT, NOTICE_GIVEN, OPTED_OUT, UsNational
from consent.signals.vendors import NO_VENDORS, VendorSet

CountryCode = Annotated[str, Field(pattern=r"^[A-Z]{2}$")]


class TcIssuer(ContractModel):
    """The consent manager that writes TC strings; the framework asks it to be registered with IAB Europe."""

    cmp_id: CmpId
    cmp_version: Annotated[int, Field(ge=0, le=4_095)]
    consent_screen: Annotated[int, Field(ge=0, le=63)]
    consent_language: CountryCode
    vendor_list_version: Annotated[int, Field(ge=0, le=4_095)]
    policy_version: Annotated[int, Field(ge=0, le=63)] = 5
    publisher_country: CountryCode


def tc_string_of(
    granted: Collection[str], mapping: TcfMapping, issuer: TcIssuer, *, day: date, disclosed: VendorSet
) -> TcString:
    """Return the TC string of the purposes that a customer granted, as of `day`, the finest time the TCF allows.

    `disclosed` are the vendors that the notice named; without our own among them the string grants nothing. Where
    the TCF's purposes can not tell apart a granted purpose from one that is not, it grants neither.
    """
    purposes = _expressible(frozenset(granted), mapping)
    midnight = datetime.combine(day, time(), UTC)
    consented = purposes and mapping.vendor in disclosed
    return TcString(
        created=midnight,
        last_updated=midnight,
        cmp_id=issuer.cmp_id,
        cmp_version=issuer.cmp_version,
        consent_screen=issuer.consent_screen,
        consent_language=issuer.consent_language,
        vendor_list_version=issuer.vendor_list_version,
        policy_version=issuer.policy_version,
        purposes_consent=purposes,
        publisher_country=issuer.publisher_country,
        vendors_consent=VendorSet.of([mapping.vendor]) if consented else NO_VENDORS,
        disclosed_vendors=disclosed,
    )


def us_national_of(withdrawn: Collection[str], mapping: OptOutMapping, *, gpc: bool) -> UsNational:
    """Return the usnat section of the purposes that a customer withdrew from or objected to.

    An opt-out that ends no declared purpose is not applicable; GPC opts out of all that are applicable.
    """
    offered = {right for ends in mapping.purposes.values() for right in ends}
    taken = {right for name, ends in mapping.purposes.items() if name in withdrawn for right in ends}
    if gpc:
        taken |= GPC_OPT_OUTS & offered
    notice = {right: NOTICE_GIVEN if right in offered else 0 for right in OptOut}
    answer = {
        right: (OPTED_OUT if right in taken else NOT_OPTED_OUT) if right in offered else 0 for right in OptOut
    }
    return UsNational(
        sharing_notice=NOTICE_GIVEN if offered else 0,
        sale_opt_out_notice=notice[OptOut.SALE],
        sharing_opt_out_notice=notice[OptOut.SHARING],
        targeted_advertising_opt_out_notice=notice[OptOut.TARGETED_ADVERTISING],
        sale_opt_out=answer[OptOut.SALE],
        sharing_opt_out=answer[OptOut.SHARING],
        targeted_advertising_opt_out=answer[OptOut.TARGETED_ADVERTISING],
        gpc=gpc,
    )


def _expressible(granted: frozenset[str], mapping: TcfMapping) -> frozenset[int]:
    purposes = {purpose for name, needed in mapping.purposes.items() if name in granted for purpose in needed}
    for name, needed in sorted(mapping.purposes.items()):
        if name not in granted and purposes.issuperset(needed):
            purposes -= set(needed)
    return frozenset(purposes)
