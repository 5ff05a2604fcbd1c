"""Payloads about a customer: what lies in the database and in the published folder opens with keys alone."""

import json
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from older_database import insert, upgrade_to
from sqlalchemy import select, text

from consent.contract import Act
from consent.errors import LogError, LogInconsistentError, SetupError
from consent.log.commitments import ErasedOpening, Opening, SealedOpening, commit, parse_opening
from consent.log.payloads import Subject, Vault
from consent.log.store import append, create_head, entries
from consent.log.verify import verify_folder
from consent.store import Database
from consent.store.schema import IdempotencyRow, LogEntry, ScrubRow, SubjectKeyRow

ANN, BOB = Subject("acme", "a" * 64), Subject("acme", "b" * 64)
VAULT = Vault(bytes(32))


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database.connect(database_url)
    database.migrate()
    with database.writing() as session:
        create_head(session)
    yield database
    database.close()


def write(database: Database, *subjects: Subject | None) -> None:
    with database.writing() as session:
        payloads = [{"kind": "test", "subject": one.pseudonym if one else ""} for one in subjects]
        append(session, payloads, subjects=subjects, vault=VAULT)


def test_what_is_about_a_customer_is_sealed_and_opens_its_entry(database: Database) -> None:
    write(database, ANN, None, BOB, ANN)
    write(database, BOB, ANN)
    with database.reading() as session:
        stored = list(entries(session, 0, 6))
        kinds = [type(entry.opening) for entry in stored]
        assert kinds == [SealedOpening, Opening, SealedOpening, SealedOpening, SealedOpening, SealedOpening]
        sealed = [entry for entry in stored if isinstance(entry.opening, SealedOpening)]
        opened = VAULT.open_all(session, [entry.opening for entry in sealed])
    assert [one.opening.key_id for one in sealed] == [0, 2, 0, 2, 0]
    assert all(opening.opens(entry.entry) for opening, entry in zip(opened, sealed, strict=True))
    subjects = [json.loads(opening.payload)["subject"][0] for opening in opened]
    assert subjects == ["a", "b", "a", "b", "a"]


def test_without_the_right_key_nothing_opens(database: Database) -> None:
    write(database, ANN)
    with database.reading() as session:
        (stored,) = entries(session, 0, 1)
        sealed = stored.opening
        assert isinstance(sealed, SealedOpening)
        with pytest.raises(LogInconsistentError, match="payload key"):
            Vault(bytes(31) + b"1").open(session, sealed)
        with pytest.raises(LogInconsistentError, match="does not decrypt"):
            VAULT.open(session, SealedOpening(1, sealed.key_id, sealed.ciphertext))
        with pytest.raises(LogInconsistentError, match="is gone"):
            VAULT.open(session, SealedOpening(0, 5, sealed.ciphertext))


def test_the_key_of_one_customer_is_not_the_key_of_another(database: Database) -> None:
    write(database, ANN, BOB)
    with database.writing() as session:
        ann, bob = session.get(SubjectKeyRow, 0), session.get(SubjectKeyRow, 1)
        assert ann is not None
        assert bob is not None
        bob.wrapped = ann.wrapped
    with database.reading() as session, pytest.raises(LogInconsistentError, match="payload key"):
        VAULT.open(session, SealedOpening(1, 1, bytes(40)))


def test_an_entry_about_a_customer_is_not_written_without_a_vault(database: Database) -> None:
    with pytest.raises(LogError, match="no key"), database.writing() as session:
        append(session, [{"kind": "test"}], subjects=[ANN])


LINES = [
    Opening(3, b"s" * 16, b'{"kind":"test"}'),
    SealedOpening(3, 0, b"nonce and ciphertext"),
    ErasedOpening(3),
]


@pytest.mark.parametrize("opening", LINES, ids=lambda one: type(one).__name__)
def test_every_kind_of_line_comes_back_in_one_spelling(opening: Any) -> None:
    line = opening.line()
    assert parse_opening(line) == opening
    assert json.loads(line)["index"] == 3
    for position in range(len(line)):
        for flip in (0x01, 0x20):
            changed = bytearray(line)
            changed[position] ^= flip
            try:
                assert parse_opening(bytes(changed)) != opening
            except LogError:
                continue
    with pytest.raises(LogError):
        parse_opening(line + b" ")


def test_the_published_openings_of_a_customer_are_sealed(consent_world: Any) -> None:
    subject = secrets.token_hex(32)
    consent_world.record("acme", Act.GRANT, subject)
    for path in consent_world.settings.log_dir.rglob("*"):
        if path.is_file():
            assert subject.encode() not in path.read_bytes()
    report = verify_folder(consent_world.settings.log_dir)
    assert (report.findings, report.sealed, report.erased, report.withheld) == ([], 1, 0, 0)
    assert report.openings == report.size - 1


@pytest.fixture
def older(empty_database_url: str) -> Iterator[Database]:
    """A database of the first schema, with three choices in clear and the answer that they were given."""
    database = Database.connect(empty_database_url)
    moment = datetime(2026, 11, 2, tzinfo=UTC)
    with database.engine.begin() as connection:
        upgrade_to(connection, "0001")
        for index, one in enumerate((ANN, BOB, ANN)):
            entry = commit(SALT, PAYLOAD)
            insert(connection, "log_entries", log_index=index, entry=entry, salt=SALT, payload=PAYLOAD)
            who = {"log_index": index, "brand": one.brand, "subject": one.pseudonym, "recorded_at": moment}
            what = {"kind": "channel", "scope": "sms", "act": "grant", "method": "form"}
            insert(connection, "choices", **who, **what)
        insert(connection, "log_head", id=1, size=3, frontier=bytes(64))
        enrolled = {"id": 1, "role": "brand", "name": "acme", "token_hash": "0" * 64, "log_index": 0}
        insert(connection, "principals", **enrolled)
        answer = {"principal_id": 1, "key": "k", "request": "1" * 64, "response": b'{"log_indices":[1,2]}'}
        insert(connection, "idempotency_keys", **answer)
    yield database
    database.close()


SALT, PAYLOAD = b"s" * 16, b'{"kind":"choice_recorded"}'


def test_an_upgrade_seals_what_was_in_clear(older: Database) -> None:
    older.migrate(vault=VAULT)
    with older.reading() as session:
        stored = list(entries(session, 0, 3))
        sealed = [entry.opening for entry in stored if isinstance(entry.opening, SealedOpening)]
        assert [one.key_id for one in sealed] == [0, 1, 0]
        assert [one.payload for one in VAULT.open_all(session, sealed)] == [PAYLOAD] * 3
        assert set(session.scalars(select(ScrubRow.place))) == {"database", "openings/000000.ndjson"}
        assert session.scalars(select(IdempotencyRow.first_index)).all() == [1]
        assert session.scalars(select(LogEntry.salt)).all() == [None] * 3


def test_an_upgrade_without_a_key_is_refused_and_changes_nothing(older: Database) -> None:
    with pytest.raises(SetupError, match="confide consent init"):
        older.migrate()
    with older.engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM log_entries WHERE salt IS NOT NULL")) == 3
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == "0001"
