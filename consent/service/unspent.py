"""Giving a reservation back: a brand says that nothing left it for a round, and that nothing will."""

from sqlalchemy import select

from consent.contract import Closing, RoundManifest, Signed, Unspent
from consent.errors import ConflictError, NotFoundError
from consent.service import ledger
from consent.service.work import Caller, Unit
from consent.store.rounds import ClosingRow
from consent.store.schema import RoundRow, RoundSnapshotRow, SpendRow


def expire(unit: Unit, caller: Caller, signed: Signed[Unspent]) -> None:
    """Expire a brand's line of a round; saying it again changes nothing.

    The brand's own ledger expired it, so that nothing can be released for it any more, and a release that attests
    it all the same is refused. As long as an attempt that asks the brand may be answered, it stays reserved.

    Raises:
        NotFoundError: the line is another brand's, or there is none.
        SignatureError: the brand's signature does not fit.
        ConflictError: the round is released or closed with this brand, or still open for it.
    """
    if signed.body.brand != caller.brand:
        raise NotFoundError("There is no such brand.")
    unspent = signed.verify(caller.public_key or "")
    unit.lock()
    row = unit.session.get(SpendRow, (unspent.run_id, unspent.round, unspent.brand))
    if row is None or row.purpose != unspent.purpose:
        raise NotFoundError("Nothing is reserved for this brand in such a round.")
    if row.state == ledger.State.EXPIRED.value:
        return
    if row.state == ledger.State.COMMITTED.value or _arrived(unit, unspent):
        raise ConflictError("The round is released, or closed, with this brand's sum: what it costs is spent.")
    if _still_open(unit, unspent):
        raise ConflictError("An attempt of the round still asks this brand; come back when its time is over.")
    index = unit.log(
        "reservation_expired", {"unspent": unspent.model_dump(mode="json"), "reserved": row.log_index}
    )
    ledger.settle([row], ledger.State.EXPIRED, index)
    unit.session.flush()


def _arrived(unit: Unit, unspent: Unspent) -> bool:
    row = unit.session.get(ClosingRow, (unspent.run_id, unspent.round))
    return row is not None and unspent.brand in Signed[Closing].model_validate_json(row.body).body.arrived


def _still_open(unit: Unit, unspent: Unspent) -> bool:
    bodies = unit.session.scalars(
        select(RoundRow.body)
        .join(RoundSnapshotRow, RoundSnapshotRow.manifest == RoundRow.digest)
        .where(
            RoundRow.run_id == unspent.run_id,
            RoundRow.round == unspent.round,
            RoundSnapshotRow.brand == unspent.brand,
        )
    )
    attempts = [Signed[RoundManifest].model_validate_json(body).body for body in bodies]
    return any(attempt.not_after > unit.now for attempt in attempts)
