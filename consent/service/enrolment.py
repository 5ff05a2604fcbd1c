"""Who is enrolled, under the service's signature: what brands look at before they share secrets."""

from collections.abc import Collection
from datetime import timedelta

from sqlalchemy import or_, select

from consent.contract import EnrolledBrand, Enrolment, Signed
from consent.errors import NotFoundError
from consent.log.store import read_head
from consent.service.access import require_sight
from consent.service.work import Caller, Unit
from consent.store.schema import PrincipalRow
from consent.wire import Role


def state(unit: Unit, caller: Caller, brands: Collection[str], *, validity: timedelta) -> Signed[Enrolment]:
    """Say under which keys brands are enrolled now; a brand is told of itself alone.

    Raises:
        NotFoundError: a brand is not enrolled, or its token has ended.
    """
    for brand in brands:
        require_sight(caller, brand)
    keys = _keys_in_force(unit, brands)
    if set(brands) - set(keys):
        raise NotFoundError("A brand is not enrolled, or its token has ended; have the operator enrol it.")
    body = Enrolment(
        brands=tuple(EnrolledBrand(brand=brand, key=keys[brand]) for brand in sorted(keys)),
        log_size=read_head(unit.session).size,
        stated_at=unit.now,
        not_after=unit.now + validity,
    )
    return Signed[Enrolment].seal(body, unit.keys.snapshots)


def _keys_in_force(unit: Unit, brands: Collection[str]) -> dict[str, str]:
    rows = unit.session.execute(
        select(PrincipalRow.name, PrincipalRow.public_key).where(
            PrincipalRow.role == Role.BRAND.value,
            PrincipalRow.name.in_(brands),
            or_(PrincipalRow.expires_at.is_(None), PrincipalRow.expires_at > unit.now),
        )
    )
    return {name: key for name, key in rows if key is not None}
