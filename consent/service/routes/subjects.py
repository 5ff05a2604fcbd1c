"""What use was made of one customer; the customer is named in the body alone."""

from fastapi import APIRouter

from consent.service import oversight
from consent.service.access import OfficerOrBrand, Work, require_sight
from consent.wire import ParticipationView, SubjectRequest

router = APIRouter()


@router.post("/v1/subjects/participation")
def participation(wanted: SubjectRequest, work: Work, caller: OfficerOrBrand) -> ParticipationView:
    """Give the rounds that could use this customer."""
    require_sight(caller, wanted.brand)
    with work.reading() as unit:
        return ParticipationView(rounds=oversight.participation(unit.session, wanted.brand, wanted.subject))
