"""What signals and strings mean for a brand's purposes, as an officer declares it."""

from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.orm import Session

from consent.contract import Purpose
from consent.errors import InvalidRequestError, NotFoundError, UnknownNoticeError
from consent.preference_signals import SignalMapping, TcfRules
from consent.service.principals import brand_keys
from consent.service.purposes import require_purposes
from consent.service.work import Unit
from consent.signals import OptOut, OptOutMapping
from consent.store.mappings import SignalMappingRow
from consent.store.schema import NoticeRow, PurposeRow


def declare(unit: Unit, brand: str, mapping: SignalMapping) -> None:
    """Declare what signals mean for a brand from now on; declaring the same again changes nothing.

    Raises:
        NotFoundError: the brand is not enrolled.
        UnknownPurposeError: a purpose is not declared.
        UnknownNoticeError: a notice is not served, or not for the purpose that it is named for.
        InvalidRequestError: a purpose is said to be ended and unaffected, or a string could not grant it.
    """
    unit.lock()
    if not brand_keys(unit.session, (brand,)):
        raise NotFoundError("The brand is not enrolled; have the operator enrol it first.")
    _check(unit, mapping)
    if mapping_of(unit.session, brand) == mapping:
        return
    index = unit.log("signal_mapping_declared", {"brand": brand, "mapping": mapping.model_dump(mode="json")})
    row = unit.session.get(SignalMappingRow, brand)
    if row is None:
        row = SignalMappingRow(brand=brand)
        unit.session.add(row)
    row.body = mapping.canonical_bytes()
    row.log_index = index
    unit.session.flush()


def mapping_of(session: Session, brand: str) -> SignalMapping:
    """Return what is declared for a brand; without a declaration every opt-out ends everything."""
    row = session.get(SignalMappingRow, brand)
    return SignalMapping() if row is None else SignalMapping.model_validate_json(row.body)


def opt_outs_of(session: Session, mapping: SignalMapping) -> OptOutMapping:
    """Return the opt-outs that end each declared purpose, those included that the mapping does not speak of."""
    declared = set(session.scalars(select(PurposeRow.purpose)))
    unspoken = dict.fromkeys(sorted(declared - set(mapping.unaffected)), tuple(OptOut))
    return OptOutMapping(purposes=unspoken | dict(mapping.opt_outs))


def _check(unit: Unit, mapping: SignalMapping) -> None:
    if set(mapping.opt_outs) & set(mapping.unaffected):
        raise InvalidRequestError("A purpose is ended by opt-outs or unaffected by them, not both.")
    named = set(mapping.opt_outs) | set(mapping.unaffected)
    if mapping.tcf is not None:
        named |= set(mapping.tcf.mapping.purposes)
    purposes = require_purposes(unit, named)
    served = _served(unit.session)
    if set(mapping.conflict_notices) - {digest for digest, _ in served}:
        raise UnknownNoticeError("A notice about the signal is not served; publish it first.")
    if mapping.tcf is not None:
        _check_strings(mapping.tcf, purposes, served)


def _check_strings(rules: TcfRules, purposes: Collection[Purpose], served: Collection[tuple[str, str]]) -> None:
    granted = set(rules.mapping.purposes)
    if set(rules.notices) != granted or not set(served).issuperset(
        (digest, purpose) for purpose, digest in rules.notices.items()
    ):
        raise UnknownNoticeError(
            "Every purpose that a TC string can grant needs a notice that is served for it, and no other does."
        )
    if any(one.special_category or one.double_opt_in for one in purposes if one.purpose in granted):
        raise InvalidRequestError(
            "A TC string can not grant a purpose that needs an explicit grant or the customer's confirmation."
        )


def _served(session: Session) -> set[tuple[str, str]]:
    query = select(NoticeRow.digest, NoticeRow.purpose).where(NoticeRow.replaced_by.is_(None))
    return {(digest, purpose) for digest, purpose in session.execute(query)}
