"""Sealing who may be used: a signed Merkle root over a brand's opted-in customers for one purpose."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from consent.contract import Signed, SnapshotHead, SnapshotProof
from consent.contract.snapshot import VERSION
from consent.errors import NotFoundError, StaleSnapshotError
from consent.service import holding
from consent.service.principals import brand_keys
from consent.service.purposes import require_purposes
from consent.service.trees import cohort_tree
from consent.service.work import Unit
from consent.store.schema import CohortRow, SnapshotRow
from consent.wire import SnapshotView

RENEWAL_SHARE = 0.25
"""A head with less than this share of its validity left is sealed anew."""


def size_class(members: int) -> int:
    """Round a cohort down to a power of two."""
    return 1 << (members.bit_length() - 1) if members else 0


def seal(unit: Unit, purpose: str, brands: Sequence[str]) -> tuple[Signed[SnapshotHead], ...]:
    """Return a current head per brand; a new one only where people changed their minds or time runs out.

    Raises:
        UnknownPurposeError: the purpose is not declared.
        NotFoundError: a brand is not enrolled.
    """
    _check(unit, purpose, brands)
    unit.lock()
    return tuple(_seal_one(unit, purpose, brand) for brand in brands)


def prepare(unit: Unit, purpose: str, brands: Sequence[str]) -> None:
    """Work out beforehand, in a unit that keeps nobody waiting, what `seal` needs; raises as it does."""
    _check(unit, purpose, brands)
    for brand in brands:
        row = _latest(unit.session, brand, purpose)
        if row is None or not _holds_for_long(unit, row):
            cohort_tree(unit, brand, purpose, unit.now + unit.snapshot_validity)


def prove(unit: Unit, brand: str, purpose: str, subject: str) -> SnapshotProof:
    """Prove that a customer is, or is not, under a current head, sealed now if need be; raises as `seal` does."""
    (head,) = seal(unit, purpose, [brand])
    tree = cohort_tree(unit, brand, purpose, head.body.not_after)
    if tree.root != head.body.root:
        raise StaleSnapshotError(
            "The customers are not those under the sealed head; have the operator look at it."
        )
    return SnapshotProof(head=head, proof=tree.prove(subject))


def _check(unit: Unit, purpose: str, brands: Sequence[str]) -> None:
    require_purposes(unit, {purpose})
    if set(brands) - set(brand_keys(unit.session, tuple(brands))):
        raise NotFoundError("A brand is not enrolled; have the operator enrol it first.")


def _seal_one(unit: Unit, purpose: str, brand: str) -> Signed[SnapshotHead]:
    row = _latest(unit.session, brand, purpose)
    if row is not None and _holds_for_long(unit, row):
        return Signed[SnapshotHead].model_validate_json(row.body)
    not_after = unit.now + unit.snapshot_validity
    tree = cohort_tree(unit, brand, purpose, not_after)
    head = SnapshotHead(
        brand=brand,
        purpose=purpose,
        root=tree.root,
        size_class=size_class(tree.members),
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
            members=tree.members,
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
    if row.not_after <= unit.now or _version(row) != VERSION:
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


def _holds_for_long(unit: Unit, row: SnapshotRow) -> bool:
    """Tell whether a head may be handed out again."""
    fresh_until = unit.now + RENEWAL_SHARE * unit.snapshot_validity
    return row.not_after > fresh_until and _version(row) == VERSION and not _changed_since(unit.session, row)


def _version(row: SnapshotRow) -> int:
    return Signed[SnapshotHead].model_validate_json(row.body).body.version


def _changed_since(session: Session, row: SnapshotRow) -> bool:
    cohort = session.get(CohortRow, (row.brand, row.purpose))
    return cohort is not None and cohort.changed_index >= row.log_size
