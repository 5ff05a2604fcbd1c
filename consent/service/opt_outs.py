"""What an opt-out by a signal ends for one customer, and ending it.

A signal withdraws at once whatever the brand's mapping says that it ends. A repeated one finds nothing left to
withdraw and writes nothing. What the customer granted before is a conflict: it is recorded and told, and the
signal holds meanwhile. Only a grant that the customer gave by themselves, after a recorded conflict and under a
notice that tells of the signal, stands against further signals (11 CCR 7025(c)(3)).
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from consent.contract import Act, Channel, Choice
from consent.log.payloads import Subject
from consent.preference_signals import HONORED, KEPT, NOT_ASKED, NOT_HONORED, OptOutAnswer, SignalConflict
from consent.service.choices import keep
from consent.service.holding import CHANNEL, PURPOSE, Key, replaced_notices, standings, why_not
from consent.service.merges import groups_of
from consent.service.signal_mappings import mapping_of, opt_outs_of
from consent.service.standing import Standing
from consent.service.work import Unit
from consent.signals import GPC_OPT_OUTS, OptOut, OptOutMapping, ended_purposes
from consent.store.customers import SignalRow
from consent.store.schema import ChoiceRow
from consent.wire import SubjectRequest

OPT_OUT_SIGNALS = ("gpc", "gpp")
OWN_ACTS = ("form", "app")
"""How a grant was collected that a customer gave by themselves."""

Scope = tuple[str, str]
"""Kind and name of a purpose or channel."""
ADS: Scope = (CHANNEL, Channel.ADS.value)


@dataclass(frozen=True)
class OptOutWish:
    """What a signal asks for.

    Args:
        signal: how it came.
        asked: everything that is opted out of.
        answered: what of it the customer answered in a consent manager, rather than their browser for them: no
            earlier grant stands against that.
        digest: SHA-256 of the string that it came in, in hex.
    """

    signal: Literal["gpc", "gpp"]
    asked: frozenset[OptOut]
    answered: frozenset[OptOut] = frozenset()
    digest: str | None = None


GPC_WISH = OptOutWish("gpc", GPC_OPT_OUTS)


@dataclass(frozen=True)
class OptOutState:
    """How a wish stands against what a customer said, under all pseudonyms that are this customer now."""

    ended: frozenset[Scope]
    """What the wish ends."""
    left: tuple[Key, ...]
    """What of it is not withdrawn yet."""
    conflicts: Mapping[Key, Standing]
    """Grants that hold, among what is left."""
    kept: frozenset[Scope]
    """What it does not end, because the customer agreed after being told."""
    receipt: int | None
    """The entry of the last signal that changed something."""

    @property
    def settled(self) -> bool:
        """Whether nothing is to be written."""
        return self.receipt is not None and not self.left

    def answer(self) -> OptOutAnswer:
        """Return what the customer is shown."""
        done = self.ended - {(kind, name) for kind, name, _ in self.left}
        return OptOutAnswer(
            honored=self.settled and bool(self.ended),
            message=self._message(),
            log_index=self.receipt,
            purposes=_names(done, PURPOSE),
            channels=tuple(map(Channel, _names(done, CHANNEL))),
            kept=tuple(sorted(name for _, name in self.kept)),
        )

    def _message(self) -> str:
        if self.receipt is None:
            return NOT_ASKED
        if self.left:
            return NOT_HONORED
        return HONORED if self.ended else KEPT


def look(unit: Unit, who: SubjectRequest, wish: OptOutWish) -> OptOutState:
    """Hold a wish against what a customer said; a device and the profiles merged with it are one customer."""
    mapping = mapping_of(unit.session, who.brand)
    meaning = opt_outs_of(unit.session, mapping)
    pseudonyms = groups_of(unit.session, who.brand, {who.subject}).get(who.subject, (who.subject,))
    said = standings(unit.session, who.brand, pseudonyms)
    holding = _holding(unit, said)
    own = _own_acts(unit.session, who.brand, pseudonyms, mapping.conflict_notices)
    agreed = {key for key, standing in holding.items() if standing.log_index in own}
    asked = _scopes(wish.asked, meaning)
    kept = {
        scope
        for scope in asked - _scopes(wish.answered, meaning)
        if all((*scope, one) in agreed for one in pseudonyms)
    }
    keys = [(*scope, one) for scope in sorted(asked - kept) for one in pseudonyms]
    left = tuple(key for key in keys if key not in said or said[key].granted)
    return OptOutState(
        ended=asked - kept,
        left=left,
        conflicts={key: holding[key] for key in left if key in holding},
        kept=frozenset(kept),
        receipt=_receipt(unit.session, who.brand, pseudonyms),
    )


def honour(unit: Unit, who: SubjectRequest, wish: OptOutWish) -> OptOutAnswer:
    """Withdraw what a wish ends and record the signal; one that is already in effect changes nothing."""
    unit.lock()
    state = look(unit, who, wish)
    if state.settled:
        return state.answer()
    withdrawals = [_withdrawal(who.brand, wish, key) for key in state.left]
    choices = keep(unit, who.brand, withdrawals) if withdrawals else range(0)
    index = unit.log("signal_honoured", _entry(who, wish, state, choices), subject=Subject(who.brand, who.subject))
    unit.session.add(
        SignalRow(
            log_index=index,
            brand=who.brand,
            subject=who.subject,
            signal=wish.signal,
            conflict=bool(state.conflicts),
            received_at=unit.now,
        )
    )
    unit.session.flush()
    conflicts = tuple(_conflict(key, standing) for key, standing in state.conflicts.items())
    notices = mapping_of(unit.session, who.brand).conflict_notices if conflicts else ()
    answer = replace(state, left=(), receipt=index).answer()
    return answer.model_copy(update={"conflicts": conflicts, "conflict_notices": notices})


def _scopes(found: frozenset[OptOut], meaning: OptOutMapping) -> frozenset[Scope]:
    """Return what opt-outs end: any of them the channel of ads as well."""
    purposes = {(PURPOSE, name) for name in ended_purposes(found, meaning)}
    return frozenset(purposes | {ADS}) if found else frozenset()


def _holding(unit: Unit, said: Mapping[Key, Standing]) -> Mapping[Key, Standing]:
    """Return the grants that hold."""
    replaced = replaced_notices(unit.session)
    return {
        (kind, name, one): standing
        for (kind, name, one), standing in said.items()
        if (standing.granted if kind == CHANNEL else why_not(standing, name, unit.now, replaced) is None)
    }


def _own_acts(
    session: Session, brand: str, pseudonyms: Collection[str], notices: Collection[str]
) -> frozenset[int]:
    """Return the acts of the customer themselves, under these notices, after they were told of a conflict."""
    told = session.scalar(
        select(func.min(SignalRow.log_index)).where(*_of(SignalRow, brand, pseudonyms), SignalRow.conflict)
    )
    if told is None:
        return frozenset()
    acts = select(ChoiceRow.log_index).where(
        *_of(ChoiceRow, brand, pseudonyms),
        ChoiceRow.log_index > told,
        ChoiceRow.method.in_(OWN_ACTS),
        ChoiceRow.notice.in_(notices),
    )
    return frozenset(session.scalars(acts))


def _receipt(session: Session, brand: str, pseudonyms: Collection[str]) -> int | None:
    last = select(func.max(SignalRow.log_index)).where(
        *_of(SignalRow, brand, pseudonyms), SignalRow.signal.in_(OPT_OUT_SIGNALS)
    )
    return session.scalar(last)


def _of(
    table: type[SignalRow] | type[ChoiceRow], brand: str, pseudonyms: Collection[str]
) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return table.brand == brand, table.subject.in_(pseudonyms)


def _withdrawal(brand: str, wish: OptOutWish, key: Key) -> Choice:
    kind, name, subject = key
    return Choice(
        brand=brand,
        subject=subject,
        act=Act.WITHDRAW,
        purpose=name if kind == PURPOSE else None,
        channel=Channel(name) if kind == CHANNEL else None,
        method="signal",
        collection_point=wish.signal,
    )


def _entry(who: SubjectRequest, wish: OptOutWish, state: OptOutState, choices: range) -> dict[str, Any]:
    said = {
        "brand": who.brand,
        "subject": who.subject,
        "signal": wish.signal,
        "purposes": list(_names(state.ended, PURPOSE)),
        "channels": list(_names(state.ended, CHANNEL)),
        "kept": sorted(name for _, name in state.kept),
        "conflicts": [standing.log_index for standing in state.conflicts.values()],
        "choices": list(choices),
    }
    return said if wish.digest is None else {**said, "string": wish.digest}


def _conflict(key: Key, standing: Standing) -> SignalConflict:
    kind, name, _ = key
    return SignalConflict(
        purpose=name if kind == PURPOSE else None,
        channel=Channel(name) if kind == CHANNEL else None,
        log_index=standing.log_index,
        notice=standing.notice,
    )


def _names(scopes: Iterable[Scope], kind: str) -> tuple[str, ...]:
    return tuple(sorted(name for of, name in scopes if of == kind))
