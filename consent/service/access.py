"""Who is let in: whoever was authenticated, in the roles that a route names; everybody else is refused."""

from collections.abc import Iterable
from typing import Annotated

from fastapi import Depends, Request
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from consent.errors import ForbiddenError, NotFoundError, UnauthenticatedError
from consent.service.work import Caller, Workplace
from consent.wire import Role, SubjectRequest

NO_BRAND = ""
"""What who sends no token acts for: a name that no brand can have."""
UNDELEGABLE = frozenset({"api-keys", "principals"})
"""Nouns that no API key is for: with a key that makes keys or principals, nobody could take a key back. The noun
`metrics` is not one of them: whoever scrapes figures would have to hold the operator's token, which does both."""


class Allow:
    """The dependency that lets some roles in, and nobody else."""

    def __init__(self, *roles: Role) -> None:
        self.roles = frozenset(roles)

    async def __call__(self, request: Request) -> Caller:
        """Return the caller.

        Raises:
            UnauthenticatedError: there is none.
            ForbiddenError: the route is not for this role, or not for this API key.
            RateLimitedError: the caller asks too often.
        """
        caller = caller_of(request)
        if isinstance(caller, UnauthenticatedError):
            raise caller
        if caller.role not in self.roles:
            raise ForbiddenError(f"A {caller.role.value} may not do this.")
        route: APIRoute = request.scope["route"]
        if caller.scopes is not None and scope_of(route) not in caller.scopes:
            raise ForbiddenError("This API key was not made for this; make one whose scopes name it.")
        request.app.state.workplace.limits.admit(caller, path_of(route))
        return caller


def allow(*roles: Role) -> Allow:
    """Make the dependency that lets these roles in."""
    return Allow(*roles)


def caller_of(request: Request) -> Caller | UnauthenticatedError:
    """Return who asks, or why nobody does."""
    found: Caller | UnauthenticatedError | None = request.scope.get("state", {}).get("caller")
    return found or nobody()


def nobody() -> UnauthenticatedError:
    """Return the refusal of who brings no token."""
    return UnauthenticatedError("Send the token as `Authorization: Bearer <token>`.")


async def workplace(request: Request) -> Workplace:
    """Return the application's workplace, in which the caller's units of work touch what they may see alone."""
    caller = caller_of(request)
    work: Workplace = request.app.state.workplace
    return work.acting_for(NO_BRAND if isinstance(caller, UnauthenticatedError) else caller.brand)


def scope_of(route: APIRoute) -> str:
    """Return the name by which an API key may be made for a route: its method and path, parameters left out."""
    (method,) = route.methods or {"any"}
    return f"{method.lower()}:{path_of(route)}"


def path_of(route: APIRoute) -> str:
    """Return a route's path under /v1/, parameters left out."""
    parts = route.path.removeprefix("/v1").split("/")
    return "/".join(part for part in parts if part and not part.startswith("{"))


def noun_of(route: APIRoute) -> str:
    """Return the first part of a route's path."""
    return path_of(route).partition("/")[0]


def scopes_of(routes: Iterable[BaseRoute], role: Role) -> frozenset[str]:
    """Return the scopes that a principal of this role can give to an API key."""
    return frozenset(
        scope_of(route)
        for route in routes
        if isinstance(route, APIRoute) and noun_of(route) not in UNDELEGABLE and role in roles_of(route)
    )


def roles_of(route: APIRoute) -> frozenset[Role]:
    """Return the roles that a route lets in; none where it is open."""
    found = [each.call.roles for each in route.dependant.dependencies if isinstance(each.call, Allow)]
    return frozenset().union(*found)


def require_sight(caller: Caller, brand: str) -> None:
    """Refuse a look at another brand as if there were no such brand.

    Raises:
        NotFoundError: the caller is of a brand, and not of this one.
    """
    if not caller.may_see(brand):
        raise NotFoundError("There is no such brand.")


def require_customer(work: Workplace, caller: Caller, wanted: SubjectRequest, *, counted: bool = True) -> None:
    """Refuse a look at who is not the caller's to see, and too many at one customer; what ends is not `counted`.

    Raises:
        NotFoundError: the customer is another brand's, or the caller is another customer.
        RateLimitedError: they are asked about too often.
    """
    require_sight(caller, wanted.brand)
    if caller.subject is not None and caller.subject != wanted.subject:
        raise NotFoundError("There is no such customer.")
    if counted and caller.subject is None:
        work.limits.about(wanted.brand, wanted.subject)


Work = Annotated[Workplace, Depends(workplace)]
PRINCIPALS = tuple(role for role in Role if role is not Role.SUBJECT)
Anyone = Annotated[Caller, Depends(allow(*PRINCIPALS))]
KeyMaker = Annotated[Caller, Depends(allow(*PRINCIPALS))]
Operator = Annotated[Caller, Depends(allow(Role.OPERATOR))]
Officer = Annotated[Caller, Depends(allow(Role.OFFICER))]
OperatorOrOfficer = Annotated[Caller, Depends(allow(Role.OPERATOR, Role.OFFICER))]
Coordinator = Annotated[Caller, Depends(allow(Role.COORDINATOR))]
Brand = Annotated[Caller, Depends(allow(Role.BRAND))]
BrandSide = Annotated[Caller, Depends(allow(Role.BRAND, Role.BRAND_ADMIN))]
BrandSideOrCustomer = Annotated[Caller, Depends(allow(Role.BRAND, Role.BRAND_ADMIN, Role.SUBJECT))]
OfficerOrBrand = Annotated[Caller, Depends(allow(Role.OFFICER, Role.BRAND))]
OfficerOrBrandSide = Annotated[Caller, Depends(allow(Role.OFFICER, Role.BRAND, Role.BRAND_ADMIN))]
RunReader = Annotated[Caller, Depends(allow(Role.OFFICER, Role.AUDITOR, Role.COORDINATOR))]
LogReader = Annotated[Caller, Depends(allow(Role.OFFICER, Role.AUDITOR, Role.BRAND))]
Overseer = Annotated[
    Caller, Depends(allow(Role.OFFICER, Role.AUDITOR, Role.BRAND, Role.BRAND_ADMIN, Role.COORDINATOR))
]
Customer = Annotated[Caller, Depends(allow(Role.SUBJECT))]
