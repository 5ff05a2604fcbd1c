"""Consent strings written from what a customer's choices allow now; they never grant more than that."""

import hashlib
from collections.abc import Collection
from datetime import date

from consent.errors import NotFoundError
from consent.preference_signals import ExportedString, ExportRequest
from consent.service.holding import PURPOSE, Holdings, holdings
from consent.service.opt_outs import GPC_WISH, look
from consent.service.reading import log_about
from consent.service.signal_mappings import mapping_of, opt_outs_of
from consent.service.signals import require_own
from consent.service.work import Caller, Unit
from consent.signals import (
    GppString,
    VendorSet,
    encode_gpp_string,
    encode_tc_string,
    tc_string_of,
    us_national_of,
)
from consent.wire import SubjectRequest


def export(unit: Unit, caller: Caller, wanted: ExportRequest) -> ExportedString:
    """Write a string for a customer, and log that it was written.

    Raises:
        NotFoundError: it is another brand's customer, or the brand declared no issuer of TC strings.
    """
    require_own(caller, wanted.brand)
    who = SubjectRequest(brand=wanted.brand, subject=wanted.subject)
    held = holdings(unit.session, unit.now, who.brand, [who.subject])
    text = _tc_string(unit, who, held) if wanted.format == "tcf" else _us_national(unit, who, held)
    written = {"format": wanted.format, "string": hashlib.sha256(text.encode()).hexdigest()}
    return ExportedString(text=text, log_index=log_about(unit, "consent_string_exported", written, who))


def _tc_string(unit: Unit, who: SubjectRequest, held: Holdings) -> str:
    mapping = mapping_of(unit.session, who.brand)
    if mapping.tcf is None or mapping.export is None:
        raise NotFoundError("No issuer of TC strings is declared for this brand; have an officer declare it.")
    granted = [name for name in mapping.tcf.mapping.purposes if held.holds(who.subject, name)]
    disclosed = VendorSet.of(mapping.export.disclosed_vendors)
    day = _day(held, who.subject, granted)
    return encode_tc_string(
        tc_string_of(granted, mapping.tcf.mapping, mapping.export.issuer, day=day, disclosed=disclosed)
    )


def _day(held: Holdings, subject: str, granted: Collection[str]) -> date:
    """Return the day of the earliest grant, so that a string never makes consent look newer than it is."""
    found = (held.standings.get((PURPOSE, name, subject)) for name in granted)
    return min((standing.since for standing in found if standing is not None), default=held.now).date()


def _us_national(unit: Unit, who: SubjectRequest, held: Holdings) -> str:
    """Write a usnat section in which whatever is not allowed is opted out of: deny by default."""
    meaning = opt_outs_of(unit.session, mapping_of(unit.session, who.brand))
    denied = [name for name in meaning.purposes if not held.holds(who.subject, name)]
    state = look(unit, who, GPC_WISH)
    section = us_national_of(denied, meaning, gpc=state.settled and not state.kept)
    return encode_gpp_string(GppString(us_national=section))
