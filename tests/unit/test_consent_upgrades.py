"""A database of the previous release is upgraded as it stands, with what it holds."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from older_database import insert, upgrade_to
from sqlalchemy import Connection, select, text

from consent.rights import RequestState
from consent.store import Database
from consent.store.customers import RightsRequestRow
from consent.store.schema import PrincipalRow

MOMENT = datetime(2026, 11, 2, tzinfo=UTC)
ENROLLED, KNOWN_BY_PROVIDER = 1, 2
STATES = {"pending": "expired", "approved": "expired", "rejected": "rejected", "done": "done"}
"""What becomes of a request that somebody made whom an identity provider knows."""


@pytest.fixture
def before_persons(empty_database_url: str) -> Iterator[Database]:
    """A database of schema 0010, with requests of somebody who was enrolled and of somebody from a provider."""
    database = Database.connect(empty_database_url)
    with database.engine.begin() as connection:
        upgrade_to(connection, "0010")
        insert(connection, "log_entries", log_index=0, entry=b"e", salt=b"s" * 16, payload=b"{}")
        for number, name in ((ENROLLED, "officer"), (KNOWN_BY_PROVIDER, "oidc-" + "a" * 40)):
            who = {"id": number, "role": "officer", "name": name, "token_hash": f"{number:064}"}
            insert(connection, "principals", **who, log_index=0)
            for state in STATES:
                insert_request(connection, number, state)
    yield database
    database.close()


def insert_request(connection: Connection, number: int, state: str) -> None:
    request_id = f"{number}-{state}"
    what = {"brand": "acme", "subject": "0" * 64, "kind": "access", "state": state, "verified_by": "code"}
    insert(
        connection,
        "rights_requests",
        request_id=request_id,
        **what,
        requested_by=number,
        requested_at=MOMENT,
        log_index=0,
    )


def test_row_27_requests_that_one_person_may_have_made_and_decided_end_with_the_upgrade(
    before_persons: Database,
) -> None:
    before_persons.migrate()
    before_persons.check_schema()
    with before_persons.reading() as session:
        found = {row.request_id: row.state for row in session.scalars(select(RightsRequestRow))}
        assert found == {f"{ENROLLED}-{state}": state for state in STATES} | {
            f"{KNOWN_BY_PROVIDER}-{state}": after for state, after in STATES.items()
        }
        assert set(found.values()) <= set(RequestState)
        assert session.scalars(select(PrincipalRow.person)).all() == [None, None]


def test_row_10_customers_tokens_are_behind_the_wall_after_an_upgrade(before_persons: Database) -> None:
    before_persons.migrate()
    with before_persons.engine.begin() as connection:
        for brand in ("acme", "bravo"):
            token = {"token_hash": brand.rjust(64, "0"), "token_id": brand, "brand": brand, "subject": "0" * 64}
            insert(connection, "subject_tokens", **token, minted_by=ENROLLED, expires_at=MOMENT, log_index=0)
    with before_persons.reading() as session:
        if session.connection().dialect.name == "postgresql":
            session.execute(text("SELECT set_config('role', 'confide_tenant', true)"))
            session.execute(text("SELECT set_config('confide.brand', 'acme', true)"))
            assert session.scalars(text("SELECT brand FROM subject_tokens")).all() == ["acme"]
        else:
            assert len(session.scalars(text("SELECT brand FROM subject_tokens")).all()) == 2
