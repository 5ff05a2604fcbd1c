"""Which choices may be recorded: a grant counts only as its purpose, its notice and its customer allow.

A withdrawal is never refused for what a grant would need: it is as easy to withdraw as to consent (Article 7(3)
GDPR).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from consent.contract import Act, Choice, Purpose
from consent.errors import InvalidRequestError, UnknownNoticeError
from consent.service.guardianship import Guardianship, guardianships
from consent.service.purposes import require_purposes
from consent.service.work import Unit
from consent.store.schema import NoticeRow


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
    if any((choice.purpose is None) == (choice.channel is None) for choice in choices):
        raise InvalidRequestError("A choice is about one purpose or about one channel, not both or neither.")
    named = {choice.purpose for choice in choices if choice.purpose is not None}
    purposes = {purpose.purpose: purpose for purpose in require_purposes(unit, named)}
    _check_notices(unit.session, choices)
    grants = [choice for choice in choices if choice.act is Act.GRANT]
    families = guardianships(unit.session, brand, {choice.subject for choice in grants})
    alone = _notices_about_one_purpose(unit.session, grants)
    for grant in grants:
        _check_guardian(grant, families.get(grant.subject), unit.now)
        if grant.expires_at is not None and grant.expires_at <= unit.now:
            raise InvalidRequestError("A grant has already ended; record one that has not.")
        if grant.purpose is not None:
            _check_purpose(grant, purposes[grant.purpose], alone, confirmed=confirmed)


def _check_notices(session: Session, choices: Sequence[Choice]) -> None:
    served = {choice.notice for choice in choices if choice.purpose and choice.notice}
    rows = session.execute(
        select(NoticeRow.digest, NoticeRow.purpose, NoticeRow.replaced_by).where(NoticeRow.digest.in_(served))
    )
    published: Mapping[tuple[str | None, str | None], str | None] = {
        (digest, purpose): replaced_by for digest, purpose, replaced_by in rows
    }
    for choice in choices:
        key = (choice.notice, choice.purpose)
        needs_notice = choice.purpose is not None and (choice.act is Act.GRANT or choice.notice is not None)
        if needs_notice and key not in published:
            raise UnknownNoticeError(
                "A grant must name a notice that was published for its purpose; publish the notice first."
            )
        if choice.act is Act.GRANT and published.get(key) is not None:
            raise UnknownNoticeError("A grant names a notice that was replaced; serve the one that replaced it.")


def _check_guardian(grant: Choice, family: Guardianship | None, now: datetime) -> None:
    expected = family.guardian if family is not None and now < family.until else None
    if grant.guardian == expected:
        return
    if expected is not None:
        raise InvalidRequestError("This customer has a guardian, who alone can grant for them.")
    raise InvalidRequestError("A grant names a guardian that is not on record, or no longer answers.")


def _check_purpose(grant: Choice, purpose: Purpose, alone: set[str | None], *, confirmed: bool) -> None:
    if purpose.special_category and not (grant.explicit and grant.notice in alone):
        raise InvalidRequestError(
            "This purpose uses data of a special category: the grant has to be explicit, under a notice that is "
            "about this purpose alone."
        )
    if purpose.double_opt_in and not confirmed:
        raise InvalidRequestError(
            "This purpose counts only once the customer confirmed it; start with a confirmation."
        )


def _notices_about_one_purpose(session: Session, grants: Sequence[Choice]) -> set[str | None]:
    digests = {grant.notice for grant in grants if grant.explicit and grant.notice}
    if not digests:
        return set()
    uses = Counter(session.scalars(select(NoticeRow.digest).where(NoticeRow.digest.in_(digests))))
    return {digest for digest, purposes in uses.items() if purposes == 1}
