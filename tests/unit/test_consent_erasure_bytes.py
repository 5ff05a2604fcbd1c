"""After an erasure the bytes are gone: out of PostgreSQL's own files, SQLite's, and backups made from then on."""

import secrets
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import select

from consent.contract import Act
from consent.log.commitments import SealedOpening
from consent.log.payloads import Subject
from consent.log.store import entries, read_head
from consent.store.schema import SubjectKeyRow

PURPOSE = "conversion"
WRITE_AHEAD_LOG = "pg_wal"
OPENING = ("data key", "salt", "payload")
"""What opens an entry by itself; the rest needs the service's payload key as well."""


def recorded(world: Any, subject: str) -> None:
    """Record choices of one customer between those of many others."""
    others = [secrets.token_hex(32) for _ in range(150)]
    world.declare(PURPOSE)
    for act in (Act.GRANT, Act.WITHDRAW, Act.GRANT):
        world.record("acme", act, *others[:70], subject, *others[70:])


def secrets_of(world: Any, subject: str) -> dict[str, bytes]:
    """Return everything that tells of a customer, by what it is."""
    with world.app.state.workplace.reading() as unit:
        row = unit.session.scalars(select(SubjectKeyRow).where(SubjectKeyRow.subject == subject)).one()
        stored = entries(unit.session, 0, read_head(unit.session).size)
        sealed = [one.opening for one in stored if isinstance(one.opening, SealedOpening)]
        mine = [one for one in sealed if one.key_id == row.key_id]
        opened = unit.keys.vault.open_all(unit.session, mine)
        raw = unit.keys.vault._unwrap(Subject("acme", subject), row.wrapped, row.wrapped_by)
    found = {"pseudonym": subject.encode(), "wrapped key": row.wrapped, "data key": raw}
    for one, opening in zip(mine, opened, strict=True):
        found |= {f"sealed {one.index}": one.ciphertext, f"salt {one.index}": opening.salt}
        found[f"payload {one.index}"] = opening.payload
    return found


def spellings(canary: bytes) -> tuple[bytes, ...]:
    return canary, canary.hex().encode()


def told_by(files: Mapping[str, bytes], canaries: Mapping[str, bytes]) -> set[tuple[str, str]]:
    """Return what is found where."""
    return {
        (what, name)
        for name, content in files.items()
        for what, canary in canaries.items()
        if any(spelt in content for spelt in spellings(canary))
    }


@pytest.fixture
def server(postgres_url: Callable[[], str]) -> Callable[[str], list[tuple[Any, ...]]]:
    """A function that runs a statement on a database that nobody else uses; its address is in `url`."""
    url = postgres_url()

    def run(statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    run.url = url  # type: ignore[attr-defined]
    return run


def files_of_server(run: Callable[[str], list[tuple[Any, ...]]]) -> dict[str, bytes]:
    """Return every file of the server, other databases' left out; names begin with the folder."""
    ((place, own),) = run(
        "SELECT current_setting('data_directory'), oid FROM pg_database WHERE datname = current_database()"
    )
    found = {}
    for path in Path(place).rglob("*"):
        name = path.relative_to(place).as_posix()
        if path.is_file() and (not name.startswith("base/") or name.startswith(f"base/{own}/")):
            found[name] = path.read_bytes()
    return found


def erased(world: Any, server: Any, *, analysed: bool) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """Return what the server's files told of a customer before and after their erasure."""
    ann = secrets.token_hex(32)
    recorded(world, ann)
    canaries = secrets_of(world, ann)
    server("ANALYZE; CHECKPOINT" if analysed else "CHECKPOINT")
    before = told_by(files_of_server(server), canaries)
    assert world.erase("acme", ann).scrubbed
    server("CHECKPOINT")
    return before, told_by(files_of_server(server), canaries)


@pytest.mark.parametrize(
    "analysed",
    [False, True],
    ids=["fresh", "analysed"],
)
def test_row_14_of_postgresqls_files_the_write_ahead_log_alone_tells_of_an_erased_customer(
    consent_worlds: Callable[..., Any], server: Any, analysed: bool
) -> None:
    """And what it holds opens with the service's payload key alone: neither a salt nor a data key is in it."""
    before, after = erased(consent_worlds(database_url=server.url), server, analysed=analysed)
    kept = {what.split()[0] for what, name in before if name.startswith("base/")}
    assert kept == {"pseudonym", "wrapped", "sealed"}
    assert {name for _, name in after if not name.startswith(WRITE_AHEAD_LOG)} == set()
    assert {what for what, _ in before | after if what.startswith(OPENING)} == set()


def test_row_14_a_sqlite_backup_made_afterwards_tells_nothing_of_an_erased_customer(
    consent_worlds: Callable[..., Any], tmp_path: Path
) -> None:
    ann, world = secrets.token_hex(32), consent_worlds()
    recorded(world, ann)
    canaries = secrets_of(world, ann)
    database, folder = world.settings.data_dir / "consent.db", world.settings.data_dir

    def backed_up(name: str) -> dict[str, bytes]:
        copy = tmp_path / name
        with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
        live = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        return {**live, name: copy.read_bytes()}

    before = told_by(backed_up("before.db"), canaries)
    assert {"pseudonym", "wrapped key"} <= {what for what, name in before if name == "before.db"}
    assert world.erase("acme", ann).scrubbed
    assert told_by(backed_up("after.db"), canaries) == set()
    assert {what for what, _ in before if what.startswith(OPENING)} == set()
