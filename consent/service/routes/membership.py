"""Proofs of who is under a snapshot."""

from typing import Annotated

from fastapi import APIRouter, Depends

from consent.contract import SnapshotProof
from consent.service import reading, snapshots
from consent.service.access import Work, allow, require_customer
from consent.service.work import Caller
from consent.wire import Role, SnapshotProofRequest, SubjectRequest

router = APIRouter()
Asker = Annotated[Caller, Depends(allow(Role.OFFICER, Role.BRAND, Role.BRAND_ADMIN, Role.SUBJECT))]


@router.post("/v1/snapshots/proof")
def proof(wanted: SnapshotProofRequest, work: Work, caller: Asker) -> SnapshotProof:
    """Prove that a customer is, or is not, under their brand's snapshot; that it was asked is logged."""
    about = SubjectRequest(brand=wanted.brand, subject=wanted.subject)
    require_customer(work, caller, about)
    with work.writing() as unit:
        reading.log_about(unit, "snapshot_proof_read", {"reader": caller.role.value}, about)
    sealing = work.acting_for(None)  # no brand may write heads
    with sealing.reading() as unit:
        snapshots.prepare(unit, wanted.purpose, [wanted.brand])
    with sealing.writing() as unit:
        return snapshots.prove(unit, wanted.brand, wanted.purpose, wanted.subject)
