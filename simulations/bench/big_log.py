"""A consent database with millions of synthetic log entries under a correct head, built in bulk."""

import hashlib
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

from consent.log.commitments import VERSION, Opening, canonical_payload, commit
from consent.log.merkle import Frontier, leaf_hash
from consent.log.payloads import NONCE_BYTES, DataKey, Subject, Vault
from consent.log.store import create_head
from consent.store import Database

BRAND = "bench"
PER_SUBJECT = 10
"""Entries of each customer, spread over the whole log."""
CHUNK = 50_000
FILLER = bytes(160)
"""As long as a sealed choice."""

Row = tuple[int, bytes, bytes, int]


def open_log(path: Path) -> Database:
    """Create an empty log in a SQLite file."""
    database = Database.connect(f"sqlite:///{path}")
    database.migrate()
    with database.writing() as session:
        create_head(session)
    return database


def pseudonym(number: int) -> str:
    """Return the pseudonym of a synthetic customer."""
    return hashlib.sha256(b"customer %d" % number).hexdigest()


def fill(path: Path, size: int, vault: Vault, asked: range) -> None:
    """Fill an empty log with `size` entries; the customers in `asked` have payloads that open, others filler.

    Entry i is about customer i modulo the number of customers, whose key's number is their first entry.
    """
    customers = size // PER_SUBJECT
    made = {number: vault.make(Subject(BRAND, pseudonym(number)), number) for number in asked}
    current, frontier = vault.current(), Frontier()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        indexes = _drop_indexes(connection)
        connection.execute("BEGIN")
        rows = _rows(size, customers, {number: key for number, (key, _) in made.items()}, frontier)
        while chunk := list(islice(rows, CHUNK)):
            connection.executemany(
                "INSERT INTO log_entries (log_index, entry, payload, key_id) VALUES (?, ?, ?, ?)", chunk
            )
        connection.executemany(
            "INSERT INTO subject_keys (key_id, brand, subject, wrapped, wrapped_by) VALUES (?, ?, ?, ?, ?)",
            [
                (number, BRAND, pseudonym(number), made[number][1] if number in made else FILLER[:60], current)
                for number in range(customers)
            ],
        )
        connection.execute("UPDATE log_head SET size = ?, frontier = ?", (size, frontier.to_bytes()))
        for statement in indexes:
            connection.execute(statement)
        connection.execute("COMMIT")


def _drop_indexes(connection: sqlite3.Connection) -> list[str]:
    """Drop the indexes of the log, to be made again over all rows at once."""
    found = connection.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'log_entries' AND sql IS NOT NULL"
    ).fetchall()
    for name, _ in found:
        connection.execute(f'DROP INDEX "{name}"')
    return [statement for _, statement in found]


def _rows(size: int, customers: int, keys: dict[int, DataKey], frontier: Frontier) -> Iterator[Row]:
    for index in range(size):
        customer = index % customers
        if customer in keys:
            salt = index.to_bytes(16, "big")
            opening = Opening(index, salt, canonical_payload(_choice(customer)))
            entry, payload = (
                commit(salt, opening.payload),
                keys[customer].seal(opening, secrets.token_bytes(NONCE_BYTES)).ciphertext,
            )
        else:
            entry, payload = VERSION + hashlib.sha256(b"%d" % index).digest(), FILLER
        frontier.append(leaf_hash(entry))
        yield index, entry, payload, customer


def _choice(customer: int) -> dict[str, str | int]:
    return {
        "kind": "choice_recorded",
        "version": 1,
        "recorded_at": "2026-11-02T09:00:00+00:00",
        "brand": BRAND,
        "subject": pseudonym(customer),
        "purpose": "conversion",
        "act": "grant",
    }
