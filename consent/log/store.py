"""The log in the database: entries are appended inside the caller's transaction, or not at all."""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select
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
from consent.log.payloads import NONCE_BYTES, RandomBytes, Subject, Vault
from consent.store.driver import Driver, Transaction
from consent.store.schema import LogEntry, LogHead

Payload = Mapping[str, Any]
Row = tuple[int, bytes, bytes | None, bytes, int | None]
"""Index, entry, salt, payload and key of an entry."""
HEAD_ID = 1
READ_HEAD = "SELECT size, frontier FROM log_head WHERE id = 1"
READ_AND_LOCK_HEAD = f"{READ_HEAD} FOR UPDATE"
SWAP_HEAD = "UPDATE log_head SET size = %s, frontier = %s WHERE id = 1 AND size = %s"
INSERT_ENTRY = "INSERT INTO log_entries (log_index, entry, salt, payload, key_id) VALUES (%s, %s, %s, %s, %s)"
READ_ENTRIES = (
    "SELECT log_index, entry, salt, payload, key_id FROM log_entries "
    "WHERE log_index >= %s AND log_index < %s ORDER BY log_index"
)
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


def read_head(session: Transaction, *, lock: bool = False) -> Frontier:
    """Return the frontier of the log; `lock` holds other writers off until the transaction ends.

    Raises:
        LogInconsistentError: there is no head.
    """
    return _head(Driver(session), READ_AND_LOCK_HEAD if lock else READ_HEAD)


def _head(driver: Driver, query: str) -> Frontier:
    found = driver.execute(query).fetchone()
    if found is None:
        raise LogInconsistentError("The database holds no log head; run `confide consent init` first.")
    size, frontier = found
    return Frontier.from_bytes(size, frontier)


def append(
    session: Transaction,
    payloads: Sequence[Payload],
    *,
    subjects: Sequence[Subject | None] = (),
    vault: Vault | None = None,
    random_bytes: RandomBytes = secrets.token_bytes,
) -> range:
    """Append one entry per payload and return their indices; the caller's commit makes them durable.

    Args:
        session: a writing transaction.
        payloads: JSON objects.
        subjects: whom each payload is about, None where about nobody; empty when all are about nobody.
        vault: seals the payloads that are about somebody.
        random_bytes: source of salts, a CSPRNG.

    Raises:
        LogConflictError: another writer moved the head after this transaction read it.
        LogError: a payload is about somebody and there is no vault.
    """
    driver = Driver(session)
    frontier = _head(driver, READ_AND_LOCK_HEAD)
    first = frontier.size
    rows = _rows(payloads, frontier, random_bytes(SALT_BYTES * len(payloads)))
    if rows:
        if any(subjects):
            rows = _sealed(session, vault, subjects, rows, random_bytes(NONCE_BYTES * len(rows)))
        swapped = driver.execute(SWAP_HEAD, (frontier.size, frontier.to_bytes(), first))
        if swapped.rowcount != 1:
            raise LogConflictError("Another writer appended to the log first; repeat the request.")
        driver.executemany(INSERT_ENTRY, rows)
    return range(first, frontier.size)


def _rows(payloads: Sequence[Payload], frontier: Frontier, salts: bytes) -> list[Row]:
    """Return the rows of new entries, and grow the frontier by them."""
    rows: list[Row] = []
    for start, payload in zip(range(0, len(salts), SALT_BYTES), payloads, strict=True):
        salt = salts[start : start + SALT_BYTES]
        canonical = canonical_payload(payload)
        entry = commit(salt, canonical)
        rows.append((frontier.size, entry, salt, canonical, None))
        frontier.append(leaf_hash(entry))
    return rows


def _sealed(
    session: Transaction,
    vault: Vault | None,
    subjects: Sequence[Subject | None],
    rows: Sequence[Row],
    nonces: bytes,
) -> list[Row]:
    """Put what is about a customer under their key."""
    if vault is None:
        raise LogError("An entry is about a customer and there is no key to seal it under.")
    keys = vault.keys(session, subjects, rows[0][0])
    sealed: list[Row] = []
    for place, (subject, row) in enumerate(zip(subjects, rows, strict=True)):
        index, entry, salt, payload, _ = row
        if subject is None or salt is None:
            sealed.append(row)
        else:
            key = keys[subject]
            nonce = nonces[place * NONCE_BYTES : (place + 1) * NONCE_BYTES]
            ciphertext = key.seal(Opening(index, salt, payload), nonce).ciphertext
            sealed.append((index, entry, None, ciphertext, key.key_id))
    return sealed


def entries(session: Session, start: int, end: int) -> Iterator[StoredEntry]:
    """Yield the entries from `start` up to, not including, `end`.

    Raises:
        LogInconsistentError: one is missing.
    """
    expected = start
    for low in range(start, end, READ_CHUNK):
        rows = Driver(session).execute(READ_ENTRIES, (low, min(low + READ_CHUNK, end))).fetchall()
        for index, entry, salt, payload, key_id in rows:
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
