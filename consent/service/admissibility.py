"""Which choices may be recorded: a grant counts only as its purpose, its notice and its customer allow.

A withdrawal is never refused for what a grant would need: it is as easy to withdraw as to consent (Article 7(3)
GDPR).
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from consent.contract import Act, Choice, Purpose
from consent.errors import InvalidRequestError, UnknownNoticeError, UnknownPurposeError
from consent.service.guardianship import Guardianship, guardianships
from consent.service.purposes import declared
from consent.service.work import Unit
from consent.store.driver import Driver, places

READ_NOTICES = "SELECT digest, purpose, replaced_by FROM notices WHERE digest IN"


def check(unit: Unit, brand: str, choices: Sequence[Choice], *, confirmed: bool = False) -> None:
    """Refuse choices that may not be recorded, all of them for one.

    Args:
        unit: the unit of work.
        brand: whose customers they are.
        choices: what they chose.
        confirmed: whether the customer confirmed a double opt-in.

    Raises:
        InvalidRequestError: a choice is about both a purpose and a channel or about neither; a grant has already
            ended; it is not explicit or not about one purpose alone where that is demanded; it needs the
            customer's confirmation; or somebody else than the customer's guardian gave it.
        UnknownPurposeError: a purpose is not declared.
        UnknownNoticeError: a grant of a purpose names no notice that is served for it.
    """
    allowed = rules(unit, brand, choices, confirmed=confirmed)
    for choice in choices:
        allowed.require(choice)


@dataclass(frozen=True)
class Rules:
    """What decides about some choices of one brand's customers, as of one moment."""

    now: datetime
    purposes: Mapping[str, Purpose]
    notices: Mapping[tuple[str, str], str | None]
    """The notices that are named, each with its purpose, and what replaced it."""
    alone: frozenset[str]
    """Those of them that are about one purpose alone."""
    families: Mapping[str, Guardianship]
    confirmed: bool

    def require(self, choice: Choice) -> None:
        """Refuse one choice that may not be recorded; raises as `check` does."""
        if (choice.purpose is None) == (choice.channel is None):
            raise InvalidRequestError("A choice is about one purpose or about one channel, not both or neither.")
        if choice.purpose is not None:
            self._require_notice(choice, choice.purpose)
        if choice.act is Act.GRANT:
            _require_guardian(choice, self.families.get(choice.subject), self.now)
            if choice.expires_at is not None and choice.expires_at <= self.now:
                raise InvalidRequestError("A grant has already ended; record one that has not.")
            if choice.purpose is not None:
                self._require_purpose(choice, self.purposes[choice.purpose])

    def _require_notice(self, choice: Choice, purpose: str) -> None:
        if purpose not in self.purposes:
            raise UnknownPurposeError("A purpose is not declared; have the operator declare it first.")
        if choice.notice is None and choice.act is not Act.GRANT:
            return
        key = (choice.notice or "", purpose)
        if key not in self.notices:
            raise UnknownNoticeError(
                "A grant must name a notice that was published for its purpose; publish the notice first."
            )
        if choice.act is Act.GRANT and self.notices[key] is not None:
            raise UnknownNoticeError("A grant names a notice that was replaced; serve the one that replaced it.")

    def _require_purpose(self, grant: Choice, purpose: Purpose) -> None:
        if purpose.special_category and not (grant.explicit and grant.notice in self.alone):
            raise InvalidRequestError(
                "This purpose uses data of a special category: the grant has to be explicit, under a notice that "
                "is about this purpose alone."
            )
        if purpose.double_opt_in and not self.confirmed:
            raise InvalidRequestError(
                "This purpose counts only once the customer confirmed it; start with a confirmation."
            )


def rules(unit: Unit, brand: str, choices: Sequence[Choice], *, confirmed: bool = False) -> Rules:
    """Read what decides about these choices, each of which then stands for itself; arguments as of `check`."""
    grants = [choice for choice in choices if choice.act is Act.GRANT]
    notices = _notices(unit.session, {choice.notice for choice in choices if choice.notice})
    uses = Counter(digest for digest, _purpose in notices)
    return Rules(
        now=unit.now,
        purposes={purpose.purpose: purpose for purpose in declared(unit.session)},
        notices=notices,
        alone=frozenset(digest for digest, purposes in uses.items() if purposes == 1),
        families=guardianships(unit.session, brand, {choice.subject for choice in grants}),
        confirmed=confirmed,
    )


def _notices(session: Session, digests: Collection[str]) -> dict[tuple[str, str], str | None]:
    if not digests:
        return {}
    query = f"{READ_NOTICES} ({places(len(digests))})"
    found = Driver(session).execute(query, tuple(digests)).fetchall()
    return {(digest, purpose): replaced_by for digest, purpose, replaced_by in found}


def _require_guardian(grant: Choice, family: Guardianship | None, now: datetime) -> None:
    expected = family.guardian if family is not None and now < family.until else None
    if grant.guardian == expected:
        return
    if expected is not None:
        raise InvalidRequestError("This customer has a guardian, who alone can grant for them.")
    raise InvalidRequestError("A grant names a guardian that is not on record, or no longer answers.")
