"""How attempts at rounds of a secure sum end: one of a round is closed and opened, the others are abandoned."""

from collections.abc import Mapping

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from consent.contract import Abandonment, Closing, RoundManifest, RoundRelease, Signed
from consent.errors import ConflictError, NotFoundError, RoundRefusedError
from consent.service.ledger import State
from consent.service.setups import scheme_of, setup_of
from consent.service.work import Caller, Unit
from consent.store.rounds import AbandonmentRow, ClosingRow
from consent.store.schema import RoundRow, SpendRow


def close(unit: Unit, caller: Caller, signed: Signed[Closing]) -> None:
    """Fix whose sums of a round are opened, once and for all; the same again changes nothing.

    Raises:
        SignatureError: the coordinator's signature does not fit.
        NotFoundError: this coordinator opened no such attempt.
        ConflictError: the round is closed otherwise, or the attempt is abandoned or not the last.
        RoundRefusedError: the brands are not those of the attempt, or too few.
    """
    closing = signed.verify(caller.public_key or "")
    unit.lock()
    manifest = _attempt(unit.session, caller, closing)
    row = unit.session.get(ClosingRow, (closing.run_id, closing.round))
    if row is not None:
        if row.digest != closing.digest():
            raise ConflictError("The round is closed already, with other brands or another attempt.")
        return
    _check_last(unit.session, closing)
    _check_brands(unit.session, closing, manifest)
    index = unit.log("round_closed", {"closing": closing.model_dump(mode="json"), "digest": closing.digest()})
    unit.session.add(
        ClosingRow(
            run_id=closing.run_id,
            round=closing.round,
            manifest=closing.manifest,
            digest=closing.digest(),
            body=signed.model_dump_json().encode(),
            log_index=index,
        )
    )
    unit.session.flush()


def abandon(unit: Unit, caller: Caller, signed: Signed[Abandonment]) -> None:
    """Log that an attempt will never be opened; abandoning it again changes nothing.

    Raises:
        SignatureError: the coordinator's signature does not fit.
        NotFoundError: this coordinator opened no such attempt.
        ConflictError: the attempt is closed.
    """
    abandonment = signed.verify(caller.public_key or "")
    unit.lock()
    _attempt(unit.session, caller, abandonment)
    if unit.session.get(AbandonmentRow, abandonment.manifest) is not None:
        return
    row = unit.session.get(ClosingRow, (abandonment.run_id, abandonment.round))
    if row is not None and row.manifest == abandonment.manifest:
        raise ConflictError("The attempt is closed and may be opened; it can not be abandoned any more.")
    index = unit.log("round_abandoned", {"abandonment": abandonment.model_dump(mode="json")})
    unit.session.add(
        AbandonmentRow(
            manifest=abandonment.manifest,
            run_id=abandonment.run_id,
            body=signed.model_dump_json().encode(),
            log_index=index,
        )
    )
    unit.session.flush()


def _attempt(session: Session, caller: Caller, ending: Closing | Abandonment) -> RoundManifest:
    row = session.get(RoundRow, ending.manifest)
    named = (ending.run_id, ending.round, ending.attempt)
    if row is None or row.coordinator != caller.name or (row.run_id, row.round, row.attempt) != named:
        raise NotFoundError("No such attempt was opened by this coordinator.")
    manifest = Signed[RoundManifest].model_validate_json(row.body).body
    if manifest.secure_sum is None:
        raise RoundRefusedError("The attempt is of trust mode `local`: nothing of it waits to be opened.")
    return manifest


def _check_last(session: Session, closing: Closing) -> None:
    of_round = (RoundRow.run_id == closing.run_id, RoundRow.round == closing.round)
    if session.scalar(select(func.max(RoundRow.attempt)).where(*of_round)) != closing.attempt:
        raise ConflictError("A later attempt of the round is open; brands open that one alone.")
    if session.get(AbandonmentRow, closing.manifest) is not None:
        raise ConflictError("The attempt is abandoned; open a new one.")


def _check_brands(session: Session, closing: Closing, manifest: RoundManifest) -> None:
    asked = {line.brand for line in manifest.participants}
    if {*closing.arrived, *closing.missing} != asked:
        raise RoundRefusedError(
            "Those that arrived and those that are missing are not the brands that were asked."
        )
    scheme = scheme_of(setup_of(session, closing.run_id))
    if len(closing.arrived) < max(len(scheme.brands) - scheme.dropouts, scheme.threshold):
        raise RoundRefusedError("Too few brands arrived for the noise that was promised; abandon the attempt.")
    given_back = select(SpendRow.brand).where(
        SpendRow.run_id == closing.run_id,
        SpendRow.round == closing.round,
        SpendRow.brand.in_(closing.arrived),
        SpendRow.state == State.EXPIRED.value,
    )
    if session.scalar(given_back.limit(1)) is not None:
        raise RoundRefusedError("A brand that is said to have arrived gave its reservation back.")


def require_open(session: Session, manifest: RoundManifest) -> None:
    """Refuse a further attempt at a round that is closed.

    Raises:
        ConflictError: it is.
    """
    if session.get(ClosingRow, (manifest.run_id, manifest.round)) is not None:
        raise ConflictError("The round is closed: the attempt that was closed is the one that may be opened.")


def check_release(session: Session, release: RoundRelease, attested: Mapping[str, str], *, masked: bool) -> None:
    """Refuse a release that is not of the attempt, the brands and the noise that were closed.

    Args:
        session: where closings lie.
        release: what is to be committed.
        attested: the attempt that each brand attested.
        masked: whether its round was a secure sum.

    Raises:
        RoundRefusedError: it is not.
    """
    if not masked:
        if release.closing is not None or release.noise_shares != 1:
            raise RoundRefusedError("The release of a round of trust mode `local` names a closing or other noise.")
        return
    row = session.get(ClosingRow, (release.run_id, release.round))
    if row is None:
        raise RoundRefusedError("The round is not closed; have its closing logged before its sum is opened.")
    closing = Signed[Closing].model_validate_json(row.body).body
    if release.closing != row.digest or release.manifests != (closing.manifest,):
        raise RoundRefusedError("The release is not of the attempt that was closed.")
    if set(attested) != set(closing.arrived):
        raise RoundRefusedError("The release is not attested by exactly the brands that arrived.")
    if release.noise_shares != len(closing.arrived) / scheme_of(setup_of(session, release.run_id)).fewest:
        raise RoundRefusedError("The release states other noise than those that arrived had added.")
