"""The statement of everything about one customer: what holds, what was said, what use was made, and the proofs."""

import base64
import json
from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from consent.contract import Channel, DecisionQuery, RoundManifest, Signed
from consent.errors import ConsentError
from consent.log.commitments import Opening
from consent.log.proof import TileTree, from_one_view
from consent.log.remote import LiveFolder
from consent.rights import (
    AccessRequest,
    AccessStatement,
    Moment,
    StatedChannel,
    StatedConsent,
    StatedEntry,
    StatedGuardian,
    StatedNotice,
    StatedProof,
    StatedRound,
    StatedSignal,
)
from consent.service import promises, remedies
from consent.service.controllers import controller_of
from consent.service.holding import CHANNEL, Holdings, holdings
from consent.service.logbook import logbook
from consent.service.oversight import participation
from consent.service.past import Past, past_of
from consent.service.purposes import declared
from consent.service.reading import entries_about, log_about
from consent.service.rights import require_approved
from consent.service.stated_runs import stated_runs
from consent.service.work import Caller, Unit, Workplace
from consent.store.customers import ConfirmationRow, GuardianRow, SignalRow
from consent.store.schema import NoticeRow, ReleaseRow, RoundRow

GIVEN = "statement_given"


def give(work: Workplace, caller: Caller, wanted: AccessRequest) -> AccessStatement:
    """Return the statement about a customer; that it was given is logged, and stated in it.

    Raises:
        ForbiddenError: the caller is not the customer, and nobody approved a request of the caller's.
    """
    with work.writing() as unit:
        if caller.subject is None:
            require_approved(unit, caller, wanted)
        log_about(unit, GIVEN, {"reader": caller.role.value}, wanted)
        remedies.look(unit, wanted.brand)
        statement = _gathered(unit, wanted)
    try:
        work.publish_now()
    except (ConsentError, OSError, SQLAlchemyError) as error:
        logbook().error("publishing_failed", fault=type(error).__name__)
    return _proven(work, statement)


def _gathered(unit: Unit, wanted: AccessRequest) -> AccessStatement:
    past = past_of(unit, wanted.brand, wanted.subject)
    held = holdings(unit.session, unit.now, wanted.brand, [wanted.subject])
    pseudonyms = held.groups.get(wanted.subject, (wanted.subject,))
    entries = entries_about(unit, wanted.brand, pseudonyms)
    rounds = tuple(_rounds(unit, wanted.brand, pseudonyms))
    return AccessStatement(
        brand=wanted.brand,
        subject=wanted.subject,
        made_at=unit.now,
        controller=controller_of(unit.session, wanted.brand),
        consents=_consents(unit, wanted, held),
        channels=_channels(wanted, held),
        as_of=None if wanted.as_of is None else _moment(unit, wanted, past, wanted.as_of),
        notices=_notices(unit, past),
        merged_with=tuple(one for one in pseudonyms if one != wanted.subject),
        guardian=_guardian(unit, wanted),
        signals=_signals(unit, wanted.brand, pseudonyms),
        pending_confirmations=_waiting(unit, wanted.brand, pseudonyms),
        rounds=rounds,
        runs=stated_runs(unit, wanted.brand, pseudonyms, [one.round for one in rounds]),
        entries=tuple(_entry(opening) for opening in entries),
        decisions=promises.DECISIONS,
        remedy=promises.REMEDY,
        after_withdrawal=promises.AFTER_WITHDRAWAL,
        after_erasure=promises.AFTER_ERASURE,
        checkpoint="",
        proofs=(),
    )


def _consents(unit: Unit, wanted: AccessRequest, held: Holdings) -> tuple[StatedConsent, ...]:
    standings = {standing.log_index: standing for standing in held.standings.values()}
    stated = []
    for purpose in declared(unit.session):
        query = DecisionQuery(brand=wanted.brand, subject=wanted.subject, purpose=purpose.purpose)
        decision = held.decision(query)
        standing = standings.get(-1 if decision.log_index is None else decision.log_index)
        stated.append(
            StatedConsent(
                purpose=purpose.purpose,
                title=purpose.title,
                legal_basis=purpose.legal_basis,
                retention_days=purpose.retention_days,
                data_categories=purpose.data_categories,
                allowed=decision.allowed,
                reason=decision.reason.value,
                since=standing.since if standing else None,
                expires_at=standing.expires_at if standing else None,
                notice=standing.notice if standing else None,
                log_index=decision.log_index,
            )
        )
    return tuple(stated)


def _channels(wanted: AccessRequest, held: Holdings) -> tuple[StatedChannel, ...]:
    stated = []
    for channel in Channel:
        standing = held.standings.get((CHANNEL, channel.value, wanted.subject))
        index = standing.log_index if standing else None
        allowed = held.reachable(wanted.subject, channel)
        stated.append(StatedChannel(channel=channel, allowed=allowed, log_index=index))
    return tuple(stated)


def _moment(unit: Unit, wanted: AccessRequest, past: Past, at: datetime) -> Moment:
    held = past.holdings(lambda _, happened: happened <= at, at)
    return Moment(at=at, consents=_consents(unit, wanted, held), channels=_channels(wanted, held))


def _notices(unit: Unit, past: Past) -> tuple[StatedNotice, ...]:
    served = sorted({(new.notice, scope) for (_, scope, _), new in past.said if new.notice})
    rows = [unit.session.get(NoticeRow, key) for key in served]
    return tuple(
        StatedNotice(
            notice=row.digest,
            purpose=row.purpose,
            language=row.language,
            text=row.text,
            replaced=row.replaced_by is not None,
        )
        for row in rows
        if row is not None
    )


def _guardian(unit: Unit, wanted: AccessRequest) -> StatedGuardian | None:
    row = unit.session.get(GuardianRow, (wanted.brand, wanted.subject))
    return None if row is None else StatedGuardian(until=row.until, log_index=row.log_index)


def _signals(unit: Unit, brand: str, pseudonyms: Sequence[str]) -> tuple[StatedSignal, ...]:
    query = select(SignalRow).where(SignalRow.brand == brand, SignalRow.subject.in_(pseudonyms))
    return tuple(
        StatedSignal(
            signal=row.signal, conflict=row.conflict, received_at=row.received_at, log_index=row.log_index
        )
        for row in unit.session.scalars(query.order_by(SignalRow.log_index))
    )


def _waiting(unit: Unit, brand: str, pseudonyms: Sequence[str]) -> int:
    query = select(func.count()).where(
        ConfirmationRow.brand == brand,
        ConfirmationRow.subject.in_(pseudonyms),
        ConfirmationRow.used_at.is_(None),
        ConfirmationRow.expires_at > unit.now,
    )
    return unit.session.scalar(query) or 0


def _rounds(unit: Unit, brand: str, pseudonyms: Sequence[str]) -> Iterable[StatedRound]:
    for pseudonym in pseudonyms:
        for one in participation(unit, brand, pseudonym):
            body = unit.session.scalar(select(RoundRow.body).where(RoundRow.log_index == one.log_index))
            line = Signed[RoundManifest].model_validate_json(body or b"").body.participant(brand)
            release = unit.session.get(ReleaseRow, (one.run_id, one.round))
            yield StatedRound(
                subject=pseudonym,
                round=one,
                size_class=line.snapshot.body.size_class if line else 0,
                release_index=release.log_index if release else None,
            )


def _entry(opening: Opening) -> StatedEntry:
    return StatedEntry(
        log_index=opening.index, payload=json.loads(opening.payload), opening=opening.line().decode()
    )


def _proven(work: Workplace, statement: AccessStatement) -> AccessStatement:
    """Add the proof of every line whose entry is published, all for one head."""
    named = {entry.log_index for entry in statement.entries}
    named |= {one.round.log_index for one in statement.rounds}
    named |= {one.release_index for one in statement.rounds if one.release_index is not None}
    answered = [one.remedy for one in statement.runs if one.remedy is not None]
    named |= {index for one in answered for index in (one.log_index, one.closed_index) if index is not None}

    def prove(note: str, tree: TileTree) -> AccessStatement:
        proofs = tuple(_proof(tree, index) for index in sorted(named) if index < tree.size)
        return statement.model_copy(update={"checkpoint": note, "proofs": proofs})

    return from_one_view(LiveFolder(work.publisher.folder), prove)


def _proof(tree: TileTree, index: int) -> StatedProof:
    path = tuple(base64.b64encode(node).decode() for node in tree.inclusion(index))
    return StatedProof(log_index=index, entry=base64.b64encode(tree.entry(index)).decode(), path=path)
