"""Who is let in: a bearer token, then the roles that a route names; everything else is refused."""

from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, Request

from consent.errors import ForbiddenError, NotFoundError, UnauthenticatedError
from consent.service.principals import authenticate
from consent.service.work import Caller, Workplace
from consent.wire import Role

SCHEME = "bearer"


def workplace(request: Request) -> Workplace:
    """Return the application's workplace."""
    found: Workplace = request.app.state.workplace
    return found


def allow(*roles: Role) -> Callable[[Request], Caller]:
    """Make the dependency that lets these roles in, and nobody else."""

    def allowed(request: Request) -> Caller:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != SCHEME or not token:
            raise UnauthenticatedError("Send the token as `Authorization: Bearer <token>`.")
        caller = authenticate(workplace(request).database, token.strip())
        if caller.role not in roles:
            raise ForbiddenError(f"A {caller.role.value} may not do this.")
        return caller

    return allowed


def require_sight(caller: Caller, brand: str) -> None:
    """Refuse a look at another brand as if there were no such brand.

    Raises:
        NotFoundError: the caller is a brand, and not this one.
    """
    if not caller.may_see(brand):
        raise NotFoundError("There is no such brand.")


Work = Annotated[Workplace, Depends(workplace)]
Anyone = Annotated[Caller, Depends(allow(*Role))]
Operator = Annotated[Caller, Depends(allow(Role.OPERATOR))]
Officer = Annotated[Caller, Depends(allow(Role.OFFICER))]
OperatorOrOfficer = Annotated[Caller, Depends(allow(Role.OPERATOR, Role.OFFICER))]
Coordinator = Annotated[Caller, Depends(allow(Role.COORDINATOR))]
Brand = Annotated[Caller, Depends(allow(Role.BRAND))]
OfficerOrBrand = Annotated[Caller, Depends(allow(Role.OFFICER, Role.BRAND))]
OfficerOrCoordinator = Annotated[Caller, Depends(allow(Role.OFFICER, Role.COORDINATOR))]
Overseer = Annotated[Caller, Depends(allow(Role.OFFICER, Role.BRAND, Role.COORDINATOR))]
