"""Requests on behalf of a customer: one person asks and says how the customer was verified, another decides.

An approved erasure is done at once. An approved copy can be fetched by whoever asked for it, until it expires.
Each request stands for itself: no other about the same customer, verified or not, is decided with it.

Two people are two persons: who is known by an identity provider stays the same one in every role that it ever gave
them, and with every API key.
"""

from datetime import timedelta

from sqlalchemy import select

from consent.errors import ConflictError, ForbiddenError, NotFoundError
from consent.rights import AccessRequest, RequestKind, RequestState, RightsRequest, RightsRequestView, Verification
from consent.service import erasure
from consent.service.oidc import is_from_provider
from consent.service.reading import log_about
from consent.service.work import Caller, Unit
from consent.store.customers import RightsRequestRow
from consent.store.schema import PrincipalRow
from consent.wire import Erasure, Role, SubjectRequest

VALID_FOR = timedelta(days=14)
"""How long a request waits for its decision, and an approved copy for being fetched; Article 12(3) GDPR gives the
controller a month for all of it."""
ID_BYTES = 16
MOST_LISTED = 200


def ask(unit: Unit, caller: Caller, wanted: RightsRequest) -> RightsRequestView:
    """Keep a request until somebody else decides it.

    Raises:
        ForbiddenError: it is not known who is behind the caller.
    """
    unit.lock()
    request_id = unit.random_bytes(ID_BYTES).hex()
    content = {
        "request": request_id,
        "kind_of_request": wanted.kind.value,
        "verified_by": wanted.verified_by.value,
    }
    row = RightsRequestRow(
        request_id=request_id,
        brand=wanted.brand,
        subject=wanted.subject,
        kind=wanted.kind.value,
        state=RequestState.PENDING.value,
        verified_by=wanted.verified_by.value,
        requested_by=caller.id,
        person=_person(caller),
        decided_by=None,
        requested_at=unit.now,
        decided_at=None,
        log_index=log_about(unit, "rights_requested", content | _by(caller), wanted),
    )
    unit.session.add(row)
    unit.session.flush()
    return _view(unit, row)


def approve(unit: Unit, caller: Caller, request_id: str) -> RightsRequestView:
    """Decide for a request, and do it where it is an erasure.

    Raises:
        NotFoundError: there is no such request at a brand that the caller may see.
        ForbiddenError: the caller asked for it, in whatever role, or it is not known who is behind the caller.
        ConflictError: it was decided, it expired, or the customer was erased meanwhile.
    """
    person, row = _person(caller), _pending(unit, caller, request_id)
    if row.requested_by == caller.id or (person is not None and row.person == person):
        raise ForbiddenError("Somebody else than who asked decides a request.")
    wanted = SubjectRequest(brand=row.brand, subject=str(row.subject))
    done: Erasure | None = None
    if row.kind == RequestKind.ERASURE.value:
        done = erasure.erase(unit, wanted)
        unit.session.refresh(row)
    _decide(unit, caller, row, RequestState.DONE if done else RequestState.APPROVED)
    content = {"request": request_id, "kind_of_request": row.kind, "brand": row.brand} | _by(caller)
    row.log_index = unit.log("rights_request_approved", content)
    unit.session.flush()
    return _view(unit, row).model_copy(update={"erasure": done})


def reject(unit: Unit, caller: Caller, request_id: str) -> RightsRequestView:
    """Decide against a request, or take it back; raises as `approve` does, but for who asked."""
    row = _pending(unit, caller, request_id)
    _decide(unit, caller, row, RequestState.REJECTED)
    content = {"request": request_id, "kind_of_request": row.kind, "brand": row.brand} | _by(caller)
    row.log_index = unit.log("rights_request_rejected", content)
    unit.session.flush()
    return _view(unit, row)


def listed(unit: Unit, caller: Caller) -> tuple[RightsRequestView, ...]:
    """Return the newest requests of the brands that the caller may see."""
    query = select(RightsRequestRow).order_by(RightsRequestRow.requested_at.desc(), RightsRequestRow.request_id)
    if caller.brand is not None:
        query = query.where(RightsRequestRow.brand == caller.brand)
    return tuple(_view(unit, row) for row in unit.session.scalars(query.limit(MOST_LISTED)))


def require_approved(unit: Unit, caller: Caller, wanted: AccessRequest) -> RightsRequestRow:
    """Return the request that a copy rests on, and refuse one that nobody approved for this caller.

    Raises:
        ForbiddenError: there is no approved request of the caller's for this customer, or not any more.
    """
    row = unit.session.get(RightsRequestRow, wanted.request_id) if wanted.request_id else None
    fits = row is not None and (
        (row.brand, row.subject, row.kind, row.requested_by)
        == (wanted.brand, wanted.subject, RequestKind.ACCESS.value, caller.id)
    )
    if row is None or not fits or _state(unit, row) is not RequestState.APPROVED:
        raise ForbiddenError("A copy needs a request of yours that somebody else approved; name it by its id.")
    return row


def require_approved_by_officer(unit: Unit, caller: Caller, wanted: AccessRequest) -> None:
    """Refuse a look at a customer's entries that no other officer approved.

    Raises:
        ForbiddenError: there is no such request, as for `require_approved`, or one that a brand approved.
    """
    row = require_approved(unit, caller, wanted)
    decider = unit.session.get(PrincipalRow, row.decided_by)
    if decider is None or decider.role != Role.OFFICER.value:
        raise ForbiddenError("A customer's entries are opened once another officer approved; have one do so.")


def _person(caller: Caller) -> str | None:
    """Return whom an identity provider knows behind a caller; None for who was enrolled here.

    Raises:
        ForbiddenError: they were not seen since persons are kept, and could be the other of the two.
    """
    if caller.person is None and is_from_provider(caller.name):
        raise ForbiddenError("It is not known who made this key; have them sign in once more, then try again.")
    return caller.person


def _pending(unit: Unit, caller: Caller, request_id: str) -> RightsRequestRow:
    unit.lock()
    row = unit.session.get(RightsRequestRow, request_id)
    if row is None or not caller.may_see(row.brand):
        raise NotFoundError("There is no such request.")
    if row.subject is None or _state(unit, row) is not RequestState.PENDING:
        raise ConflictError("The request was decided or has expired; make a new one.")
    return row


def _decide(unit: Unit, caller: Caller, row: RightsRequestRow, state: RequestState) -> None:
    row.state = state.value
    row.decided_by = caller.id
    row.decided_at = unit.now


def _state(unit: Unit, row: RightsRequestRow) -> RequestState:
    state = RequestState(row.state)
    open_still = state in (RequestState.PENDING, RequestState.APPROVED)
    return RequestState.EXPIRED if open_still and unit.now >= row.requested_at + VALID_FOR else state


def _by(caller: Caller) -> dict[str, str]:
    return {"by": caller.role.value, "name": caller.name}


def _view(unit: Unit, row: RightsRequestRow) -> RightsRequestView:
    return RightsRequestView(
        request_id=row.request_id,
        brand=row.brand,
        kind=RequestKind(row.kind),
        state=_state(unit, row),
        verified_by=Verification(row.verified_by),
        requested_at=row.requested_at,
        expires_at=row.requested_at + VALID_FOR,
        decided_at=row.decided_at,
        log_index=row.log_index,
    )
