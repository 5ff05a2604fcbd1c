"""One customer: what use was made of them, and their erasure; they are named in the body alone."""

from fastapi import APIRouter

from consent.service import erasure, oversight, reading
from consent.service.access import OfficerOrBrand, Work, require_sight
from consent.wire import Erasure, ParticipationView, SubjectRequest

router = APIRouter()


@router.post("/v1/subjects/participation")
def participation(wanted: SubjectRequest, work: Work, caller: OfficerOrBrand) -> ParticipationView:
    """Give the rounds that could use this customer; that it was asked is logged."""
    require_sight(caller, wanted.brand)
    with work.writing() as unit:
        reading.log_about(unit, "participation_read", {"reader": caller.role.value}, wanted)
        return ParticipationView(rounds=oversight.participation(unit.session, wanted.brand, wanted.subject))


@router.post("/v1/subjects/erasure")
def erase(wanted: SubjectRequest, work: Work, caller: OfficerOrBrand) -> Erasure:
    """Destroy what is held about this customer."""
    require_sight(caller, wanted.brand)
    with work.writing() as unit:
        done = erasure.erase(unit, wanted)
    return done.model_copy(update={"scrubbed": erasure.scrub(work)})
