"""Sealing who may be used: a signed Merkle root over a brand's opted-in customers for one purpose."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from consent.contract import Signed, SnapshotHead
from consent.errors import NotFoundError, StaleSnapshotError
from consent.log.merkle import leaf_hash, root_hash
from consent.service import holding
from consent.service.principals import brand_keys
from consent.service.purposes import require_purposes
from consent.service.work import Unit
from consent.store.schema import CohortRow, SnapshotRow
from consent.wire import SnapshotView

RENEWAL_SHARE = 0.25
"""A head with less than this share of its validity left is sealed anew."""


def members_root(members: Sequence[str]) -> str:
    """Return the RFC 6962 root over sorted pseudonyms, each leaf its 32 raw bytes, in hex."""
    return root_hash([leaf_hash(bytes.fromhex(member)) for member in members]).hex()


def size_class(members: int) -> int:
    """Round a cohort down to a power of two."""
    return 1 << (members.bit_length() - 1) if members else 0


def seal(unit: Unit, purpose: str, brands: Sequence[str]) -> tuple[Signed[SnapshotHead], ...]:
    """Return a current head per brand; a new one only where people changed their minds or time runs out.

    Raises:
        UnknownPurposeError: the purpose is not declared.
        NotFoundError: a brand is not enrolled.
    """
    require_purposes(unit, {purpose})
    unit.lock()
    if set(brands) - set(brand_keys(unit.session, tuple(brands))):
        raise NotFoundError("A brand is not enrolled; have the operator enrol it first.")
    return tuple(_seal_one(unit, purpose, brand) for brand in brands)


def _seal_one(unit: Unit, purpose: str, brand: str) -> Signed[SnapshotHead]:
    row = _latest(unit.session, brand, purpose)
    fresh_until = unit.now + RENEWAL_SHARE * unit.snapshot_validity
    if row is not None and row.not_after > fresh_until and not _changed_since(unit.session, row):
        return Signed[SnapshotHead].model_validate_json(row.body)
    not_after = unit.now + unit.snapshot_validity
    members = holding.members(unit.session, brand, purpose, not_after)
    head = SnapshotHead(
        brand=brand,
        purpose=purpose,
        root=members_root(members),
        size_class=size_class(len(members)),
        log_size=unit.log_size(),
        sealed_at=unit.now,
        not_after=not_after,
    )
    signed = Signed[SnapshotHead].seal(head, unit.keys.snapshots)
    index = unit.log("snapshot_sealed", {"head": head.model_dump(mode="json"), "digest": head.digest()})
    unit.session.add(
        SnapshotRow(
            brand=brand,
            purpose=purpose,
            digest=head.digest(),
            members=len(members),
            log_size=head.log_size,
            not_after=head.not_after,
            body=signed.model_dump_json().encode(),
            log_index=index,
        )
    )
    unit.session.flush()
    return signed


def current(unit: Unit, brand: str, purpose: str) -> SnapshotView:
    """Return a brand's own snapshot with its members; raises as `current_head` does."""
    head = current_head(unit, brand, purpose)
    return SnapshotView(head=head, members=holding.members(unit.session, brand, purpose, head.body.not_after))


def current_head(unit: Unit, brand: str, purpose: str) -> Signed[SnapshotHead]:
    """Return the head of a brand's own snapshot.

    Raises:
        NotFoundError: none was ever sealed.
        StaleSnapshotError: somebody changed their mind since, or it expired.
    """
    row = _latest(unit.session, brand, purpose)
    if row is None:
        raise NotFoundError("No snapshot is sealed for this purpose; the coordinator seals one for a round.")
    require_current(unit, row)
    return Signed[SnapshotHead].model_validate_json(row.body)


def require_current(unit: Unit, row: SnapshotRow) -> None:
    """Refuse a snapshot that no longer holds.

    Raises:
        StaleSnapshotError: somebody changed their mind since, or it expired.
    """
    if row.not_after <= unit.now:
        raise StaleSnapshotError("The snapshot expired; have the coordinator seal a new one.")
    if _changed_since(unit.session, row):
        raise StaleSnapshotError(
            "Customers changed their minds since the snapshot was sealed; have the coordinator seal a new one."
        )


def find(session: Session, head: SnapshotHead) -> SnapshotRow:
    """Return the row of a sealed head.

    Raises:
        StaleSnapshotError: this service sealed no such head.
    """
    row = session.scalar(select(SnapshotRow).where(SnapshotRow.digest == head.digest()))
    if row is None:
        raise StaleSnapshotError("This service has not sealed such a snapshot; seal a new one.")
    return row


def _latest(session: Session, brand: str, purpose: str) -> SnapshotRow | None:
    return session.scalar(
        select(SnapshotRow)
        .where(SnapshotRow.brand == brand, SnapshotRow.purpose == purpose)
        .order_by(SnapshotRow.log_index.desc())
        .limit(1)
    )


def _changed_since(session: Session, row: SnapshotRow) -> bool:
    cohort = session.get(CohortRow, (row.brand, row.purpose))
    return cohort is not None and cohort.changed_index >= row.log_size
