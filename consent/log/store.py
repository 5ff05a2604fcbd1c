"""The log in the database: entries are appended inside the caller's transaction, or not at all."""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from consent.errors import LogConflictError, LogError, LogInconsistentError
from consent.log.commitments import (
    SALT_BYTES,
    AnyOpening,
    ErasedOpening,
    Opening,
    SealedOpening,
    canonical_payload,
    commit,
)
from consent.log.merkle import Frontier, leaf_hash
from consent.log.payloads import RandomBytes, Subject, Vault
from consent.store.bulk import insert_all
from consent.store.schema import LogEntry, LogHead

Payload = Mapping[str, Any]
HEAD_ID = 1
READ_CHUNK = 4096
LOOKUP_CHUNK = 1_000


@dataclass(frozen=True)
class StoredEntry:
    """An entry as it lies in the database."""

    index: int
    entry: bytes
    opening: AnyOpening


def create_head(session: Session) -> None:
    """Start an empty log, unless there is one."""
    if session.get(LogHead, HEAD_ID) is None:
        session.execute(insert(LogHead).values(id=HEAD_ID, size=0, frontier=b""))


def read_head(session: Session, *, lock: bool = False) -> Frontier:
    """Return the frontier of the log; `lock` holds other writers off until the transaction ends.

    Raises:
        LogInconsistentError: there is no head.
    """
    query = select(LogHead.size, LogHead.frontier).where(LogHead.id == HEAD_ID)
    row = session.execute(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        raise LogInconsistentError("The database holds no log head; run `confide consent init` first.")
    return Frontier.from_bytes(row.size, row.frontier)


def append(
    session: Session,
    payloads: Sequence[Payload],
    *,
    subjects: Sequence[Subject | None] = (),
    vault: Vault | None = None,
    random_bytes: RandomBytes = secrets.token_bytes,
) -> range:
    """Append one entry per payload and return their indices; the caller's commit makes them durable.

    Args:
        session: a writing session.
        payloads: JSON objects.
        subjects: whom each payload is about, None where about nobody; empty when all are about nobody.
        vault: seals the payloads that are about somebody.
        random_bytes: source of salts, a CSPRNG.

    Raises:
        LogConflictError: another writer moved the head after this transaction read it.
        LogError: a payload is about somebody and there is no vault.
    """
    frontier = read_head(session, lock=True)
    first = frontier.size
    salts = random_bytes(SALT_BYTES * len(payloads))
    openings = []
    rows = []
    for offset, payload in enumerate(payloads):
        salt = salts[SALT_BYTES * offset : SALT_BYTES * (offset + 1)]
        opening = Opening(first + offset, salt, canonical_payload(payload))
        entry = commit(salt, opening.payload)
        frontier.append(leaf_hash(entry))
        openings.append(opening)
        rows.append(
            {
                "log_index": opening.index,
                "entry": entry,
                "salt": salt,
                "payload": opening.payload,
                "key_id": None,
            }
        )
    if rows:
        _seal(session, vault, subjects, openings, rows)
        _swap_head(session, first, frontier)
        insert_all(session, LogEntry, rows)
    return range(first, frontier.size)


def _seal(
    session: Session,
    vault: Vault | None,
    subjects: Sequence[Subject | None],
    openings: Sequence[Opening],
    rows: Sequence[dict[str, Any]],
) -> None:
    """Put what is about a customer under their key."""
    if not any(subjects):
        return
    if vault is None:
        raise LogError("An entry is about a customer and there is no key to seal it under.")
    keys = vault.keys(session, subjects, openings[0].index)
    for subject, opening, row in zip(subjects, openings, rows, strict=True):
        if subject is not None:
            sealed = keys[subject].seal(opening)
            row.update(salt=None, payload=sealed.ciphertext, key_id=sealed.key_id)


def _swap_head(session: Session, expected: int, frontier: Frontier) -> None:
    swapped = session.execute(
        update(LogHead)
        .where(LogHead.id == HEAD_ID, LogHead.size == expected)
        .values(size=frontier.size, frontier=frontier.to_bytes())
        .returning(LogHead.size),
        execution_options={"synchronize_session": False},
    ).one_or_none()
    if swapped is None:
        raise LogConflictError("Another writer appended to the log first; repeat the request.")


def entries(session: Session, start: int, end: int) -> Iterator[StoredEntry]:
    """Yield the entries from `start` up to, not including, `end`.

    Raises:
        LogInconsistentError: one is missing.
    """
    expected = start
    for low in range(start, end, READ_CHUNK):
        query = (
            select(LogEntry.log_index, LogEntry.entry, LogEntry.salt, LogEntry.payload, LogEntry.key_id)
            .where(LogEntry.log_index >= low, LogEntry.log_index < min(low + READ_CHUNK, end))
            .order_by(LogEntry.log_index)
        )
        for index, entry, salt, payload, key_id in session.execute(query):
            if index != expected:
                break
            yield StoredEntry(index, entry, _opening(index, salt, payload, key_id))
            expected += 1
    if expected < end:
        raise LogInconsistentError(
            f"Entry {expected} is missing from the database; restore it from the published log, then start."
        )


def stored(session: Session, indices: Sequence[int]) -> Iterator[StoredEntry]:
    """Yield the entries at these places, in the order of the log; those that do not exist are left out."""
    wanted = sorted(set(indices))
    for start in range(0, len(wanted), LOOKUP_CHUNK):
        query = (
            select(LogEntry.log_index, LogEntry.entry, LogEntry.salt, LogEntry.payload, LogEntry.key_id)
            .where(LogEntry.log_index.in_(wanted[start : start + LOOKUP_CHUNK]))
            .order_by(LogEntry.log_index)
        )
        for index, entry, salt, payload, key_id in session.execute(query):
            yield StoredEntry(index, entry, _opening(index, salt, payload, key_id))


def _opening(index: int, salt: bytes | None, payload: bytes | None, key_id: int | None) -> AnyOpening:
    if payload is not None and key_id is not None:
        return SealedOpening(index, key_id, payload)
    if payload is not None and salt is not None:
        return Opening(index, salt, payload)
    return ErasedOpening(index)
