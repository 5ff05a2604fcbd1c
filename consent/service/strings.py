"""TC strings and GPP strings of one customer, taken in.

A string is not signed and names no customer, so it grants only what the brand's mapping lets it, under a notice
that is served, and only where it was created strictly after whatever the customer said last by the service's
clock. Its own times are claims, which can make it count for less, never for more. An opt-out by a signal is not
undone by a string. The string itself is not kept: the log has its hash.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import select

from consent.contract import Act, Choice
from consent.errors import ConflictError, ConsentError, ConsentStringError, NotFoundError
from consent.log.payloads import Subject
from consent.preference_signals import ConsentString, GppAnswer, ImportedString, RefusedGrant, TcfRules
from consent.service.admissibility import check
from consent.service.choices import keep
from consent.service.holding import PURPOSE, replaced_notices, standings, why_not
from consent.service.opt_outs import OPT_OUT_SIGNALS, OptOutWish, honour
from consent.service.purposes import declared
from consent.service.signal_mappings import mapping_of
from consent.service.signals import require_own
from consent.service.standing import Standing
from consent.service.work import Caller, Unit
from consent.signals import (
    GppString,
    OptOut,
    TcfMapping,
    TcString,
    decode_gpp_string,
    decode_tc_string,
    granted_purposes,
    opt_outs,
)
from consent.store.customers import SignalRow
from consent.store.schema import ChoiceRow
from consent.wire import SubjectRequest

SIGNAL = "tcf"
VALIDITY = timedelta(days=395)
"""Thirteen months after a string was created its grants end: IAB Europe had customers reminded by then."""


@dataclass(frozen=True)
class ReadString:
    """A string that was read, and whose it is."""

    who: SubjectRequest
    digest: str
    """SHA-256 of its text, in hex."""
    tc: TcString | None
    gpp: GppString | None = None


def read_tcf(sent: ConsentString) -> ReadString:
    """Read a TC string.

    Raises:
        ConsentStringError: it is malformed.
    """
    tc = decode_tc_string(sent.text)
    return ReadString(_who(sent), _digest(sent.text), tc)


def read_gpp(sent: ConsentString) -> ReadString:
    """Read a GPP string.

    Raises:
        ConsentStringError: it is malformed.
    """
    gpp = decode_gpp_string(sent.text)
    return ReadString(_who(sent), _digest(sent.text), gpp.tcf_eu, gpp)


def import_tcf(unit: Unit, caller: Caller, string: ReadString) -> ImportedString:
    """Record what a TC string grants and withdraws; one that says nothing new changes nothing.

    Raises:
        NotFoundError: it is another brand's customer, or nothing is declared that TC strings could grant.
        ConsentStringError: the string counts for nothing, by the rule that the sentence names.
    """
    require_own(caller, string.who.brand)
    unit.lock()
    rules = mapping_of(unit.session, string.who.brand).tcf
    if rules is None:
        raise NotFoundError("No meaning of TC strings is declared for this brand; have an officer declare it.")
    if string.tc is None:
        return ImportedString()
    require_counted(string.tc, rules.mapping, unit.now)
    return _record(_case(unit, string.who, string.tc, rules), string.digest)


def import_gpp(unit: Unit, caller: Caller, string: ReadString) -> GppAnswer:
    """Honour the opt-outs of a GPP string, then record what its section for the European Union says.

    Raises:
        NotFoundError: it is another brand's customer.
    """
    require_own(caller, string.who.brand)
    asked = frozenset[OptOut]() if string.gpp is None else opt_outs(string.gpp)
    answered = frozenset[OptOut]() if string.gpp is None else opt_outs(_without_gpc(string.gpp))
    wish = OptOutWish("gpp", asked, answered, string.digest)
    opted_out = honour(unit, string.who, wish) if asked else None
    if string.tc is None:
        return GppAnswer(opt_out=opted_out)
    try:
        return GppAnswer(opt_out=opted_out, consent=import_tcf(unit, caller, string))
    except (ConsentStringError, NotFoundError) as error:
        return GppAnswer(opt_out=opted_out, problem=str(error))


def require_counted(tc: TcString, mapping: TcfMapping, now: datetime) -> None:
    """Refuse a string that can not count, whatever its customer chose.

    Raises:
        ConsentStringError: a consent manager wrote it that the brand does not list, or after other policies; our
            vendor was not disclosed; or it says that it is from the future.
    """
    if tc.cmp_id not in mapping.cmps:
        raise ConsentStringError("The TC string was written by a consent manager that the brand does not list.")
    if tc.policy_version not in mapping.policy_versions:
        raise ConsentStringError("The TC string was written after a version of the policies that is not listed.")
    if mapping.vendor not in tc.disclosed_vendors:
        raise ConsentStringError("The TC string does not disclose the brand's vendor to the customer.")
    if max(tc.created, tc.last_updated) > now:
        raise ConsentStringError("The TC string says that it was written at a time that is still to come.")


@dataclass(frozen=True)
class _Case:
    """What one string says about one customer, held against what they said before."""

    unit: Unit
    who: SubjectRequest
    tc: TcString
    rules: TcfRules
    said: Mapping[str, Standing]
    holding: frozenset[str]
    """The purposes whose grants hold."""
    opted_out: frozenset[int]
    """Entries of choices that a signal made."""
    terms: Mapping[str, int | None]
    """After how many days the grants of a purpose end."""

    def withdrawals(self) -> tuple[Choice, ...]:
        """Return what the string does not grant and the customer did not withdraw yet."""
        taken = [name for name, wanted in self._wanted() if not wanted and self._stands(name)]
        return tuple(_choice(self.who, name, Act.WITHDRAW) for name in taken)

    def grants(self) -> tuple[tuple[Choice, ...], tuple[RefusedGrant, ...]]:
        """Return what the string newly grants, and what it can not."""
        granted, refused = [], []
        for name, wanted in self._wanted():
            if not wanted or name in self.holding:
                continue
            grant = self._grant(name)
            try:
                self._require_newer(name)
                check(self.unit, self.who.brand, [grant])
            except ConsentError as error:
                refused.append(RefusedGrant(purpose=name, error=error.code, detail=str(error)))
            else:
                granted.append(grant)
        return tuple(granted), tuple(refused)

    def _wanted(self) -> Sequence[tuple[str, bool]]:
        return sorted(granted_purposes(self.tc, self.rules.mapping).items())

    def _stands(self, name: str) -> bool:
        return name not in self.said or self.said[name].granted

    def _grant(self, name: str) -> Choice:
        term = self.terms[name]
        validity = VALIDITY if term is None else min(VALIDITY, timedelta(days=term))
        return _choice(self.who, name, Act.GRANT).model_copy(
            update={
                "notice": self.rules.notices[name],
                "claimed_at": self.tc.created,
                "expires_at": self.tc.created + validity,
            }
        )

    def _require_newer(self, name: str) -> None:
        standing = self.said.get(name)
        if standing is None:
            return
        if standing.log_index in self.opted_out and not standing.granted:
            raise ConflictError(
                "The customer's browser opted out: only a grant of their own, given after they were told of "
                "that, counts."
            )
        if self.tc.created <= standing.since:
            raise ConflictError("The string is not newer than what the customer said last.")


def _case(unit: Unit, who: SubjectRequest, tc: TcString, rules: TcfRules) -> _Case:
    found = standings(unit.session, who.brand, [who.subject])
    said = {name: standing for (kind, name, _), standing in found.items() if kind == PURPOSE}
    replaced = replaced_notices(unit.session)
    holds = [name for name, standing in said.items() if why_not(standing, name, unit.now, replaced) is None]
    by_signal = select(ChoiceRow.log_index).where(
        ChoiceRow.brand == who.brand,
        ChoiceRow.subject == who.subject,
        ChoiceRow.method == "signal",
        ChoiceRow.collection_point.in_(OPT_OUT_SIGNALS),
    )
    return _Case(
        unit=unit,
        who=who,
        tc=tc,
        rules=rules,
        said=said,
        holding=frozenset(holds),
        opted_out=frozenset(unit.session.scalars(by_signal)),
        terms={purpose.purpose: purpose.consent_days for purpose in declared(unit.session)},
    )


def _record(case: _Case, digest: str) -> ImportedString:
    withdrawn = case.withdrawals()
    granted, refused = case.grants()
    if not withdrawn and not granted:
        return ImportedString(refused=refused)
    unit, who = case.unit, case.who
    choices = keep(unit, who.brand, [*withdrawn, *granted])
    purposes = {
        "granted": [str(one.purpose) for one in granted],
        "withdrawn": [str(one.purpose) for one in withdrawn],
    }
    entry = {
        "brand": who.brand,
        "subject": who.subject,
        "signal": SIGNAL,
        "string": digest,
        "choices": list(choices),
    }
    index = unit.log("consent_string_imported", {**entry, **purposes}, subject=Subject(who.brand, who.subject))
    unit.session.add(
        SignalRow(
            log_index=index,
            brand=who.brand,
            subject=who.subject,
            signal=SIGNAL,
            conflict=not case.holding.isdisjoint(purposes["withdrawn"]),
            received_at=unit.now,
        )
    )
    unit.session.flush()
    return ImportedString.model_validate({"log_index": index, "refused": refused, **purposes})


def _choice(who: SubjectRequest, purpose: str, act: Act) -> Choice:
    return Choice(
        brand=who.brand,
        subject=who.subject,
        act=act,
        purpose=purpose,
        method="signal",
        collection_point=SIGNAL,
    )


def _without_gpc(gpp: GppString) -> GppString:
    """Return a string's own answers: a consent manager copies the browser's signal into a sub-section."""
    national, californian = gpp.us_national, gpp.us_california
    return replace(
        gpp,
        us_national=national and replace(national, gpc=None),
        us_california=californian and replace(californian, gpc=None),
    )


def _who(sent: ConsentString) -> SubjectRequest:
    return SubjectRequest(brand=sent.brand, subject=sent.subject)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
