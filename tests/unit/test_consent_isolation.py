"""PostgreSQL keeps brands apart by itself: a handler that forgets its brand finds nothing of another one."""

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import psycopg
import pytest
from rights_desk import hold_round
from sqlalchemy import Table, func, insert, select, text, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from consent import errors
from consent.contract import Act, DecisionQuery
from consent.credentials import ApiKeyRequest
from consent.log.commitments import SealedOpening
from consent.log.store import stored
from consent.service import isolation
from consent.service.work import Unit, Workplace
from consent.store.schema import (
    ApprovalRow,
    Base,
    CeilingRow,
    ChoiceRow,
    LogEntry,
    ReleaseRow,
    RoundRow,
    RoundSnapshotRow,
    SpendRow,
    StateRow,
    SubjectKeyRow,
)
from consent.wire import PurposeCoverage

PURPOSE = "conversion"
ANN, BOB, CYD = (hashlib.sha256(name).hexdigest() for name in (b"ann", b"bob", b"cyd"))
PATIENCE = 30.0
OF_ONE_BRAND = [table for table in Base.metadata.sorted_tables if "brand" in table.columns]
FILLED = {"api_keys", "choices", "cohorts", "principals", "snapshots", "states", "subject_keys"}


@pytest.fixture
def world(consent_worlds: Any, postgres_url: Callable[[], str]) -> Any:
    """A service on PostgreSQL with two brands: acme with Ann and Bob, bravo with Cyd."""
    return fill(consent_worlds(database_url=postgres_url()))


def fill(world: Any) -> Any:
    world.declare(PURPOSE)
    world.record("acme", Act.GRANT, ANN, BOB)
    world.record("bravo", Act.GRANT, CYD)
    world.coordinator.seal_snapshots(PURPOSE, ["acme", "bravo"])
    for brand in ("acme", "bravo"):
        world.brand(brand).create_api_key(ApiKeyRequest(label="crm", scopes=("post:choices",), days=1))
    return world


@pytest.fixture
def work(world: Any) -> Workplace:
    found: Workplace = world.app.state.workplace
    return found


def seen(session: Session, table: Table) -> set[str | None]:
    """The brands of the rows that a query without a filter finds."""
    return set(session.scalars(select(table.c.brand).distinct()))


def test_every_table_with_a_brand_is_behind_the_wall(work: Workplace) -> None:
    with work.reading() as unit:
        query = text(
            "SELECT relname FROM pg_class JOIN pg_policy ON polrelid = pg_class.oid "
            "JOIN pg_roles ON pg_roles.oid = ANY (polroles) WHERE relrowsecurity AND rolname = 'confide_tenant'"
        )
        walled = set(unit.session.scalars(query))
    assert walled >= {table.name for table in OF_ONE_BRAND} | {
        "log_entries",
        "idempotency_keys",
        "rounds",
        "releases",
    }


def test_a_query_that_forgets_the_brand_finds_nothing_of_another(work: Workplace) -> None:
    found = {}
    with work.reading() as unit:
        everything = {table.name: seen(unit.session, table) for table in OF_ONE_BRAND}
    for brand in ("acme", "bravo"):
        with work.acting_for(brand).reading() as unit:
            found[brand] = {table.name: seen(unit.session, table) for table in OF_ONE_BRAND}
    for name in everything:
        assert found["acme"][name] <= {"acme"}, name
        assert found["bravo"][name] <= {"bravo"}, name
    for name in FILLED:
        assert everything[name] >= {"acme", "bravo"}, name
        assert (found["acme"][name], found["bravo"][name]) == ({"acme"}, {"bravo"}), name


def test_who_names_no_brand_finds_nothing_of_any(work: Workplace) -> None:
    with work.acting_for("").reading() as unit:
        assert all(seen(unit.session, table) == set() for table in OF_ONE_BRAND)


def test_entries_about_other_brands_customers_are_neither_seen_nor_opened(work: Workplace) -> None:
    with work.reading() as unit:
        everything = list(unit.session.scalars(select(LogEntry.log_index)))
        cyd = unit.session.scalars(select(SubjectKeyRow).where(SubjectKeyRow.subject == CYD)).one()
        openings = [entry.opening for entry in stored(unit.session, everything)]
    theirs = [one for one in openings if isinstance(one, SealedOpening) and one.key_id == cyd.key_id]
    assert theirs
    with work.acting_for("acme").reading() as unit:
        sealed = [
            one.opening for one in stored(unit.session, everything) if isinstance(one.opening, SealedOpening)
        ]
        assert len(sealed) == 2
        assert not {one.index for one in sealed} & {one.index for one in theirs}
        assert len(unit.keys.vault.open_all(unit.session, sealed)) == 2
        with pytest.raises(errors.LogInconsistentError):
            unit.keys.vault.open_all(unit.session, theirs)


def test_rounds_are_seen_by_the_brands_that_they_asked(world: Any, work: Workplace) -> None:
    hold_round(world)
    for brand, count in (("acme", 1), ("bravo", 0), (None, 1)):
        with work.acting_for(brand).reading() as unit:
            for table in (RoundRow, ReleaseRow, RoundSnapshotRow, SpendRow, CeilingRow, ApprovalRow):
                assert unit.session.scalar(select(func.count()).select_from(table)) == count, (table, brand)


def spoil_choice(session: Session) -> int:
    values = {"brand": "bravo", "subject": CYD, "kind": "purpose", "scope": PURPOSE, "act": "withdraw"}
    (index,) = session.execute(select(func.max(ChoiceRow.log_index))).one()
    now = func.now()
    session.execute(insert(ChoiceRow).values(log_index=index + 1, method="web", recorded_at=now, **values))
    return 1


def withdraw_for_all(session: Session) -> int:
    return session.execute(update(StateRow).values(act="withdraw")).rowcount


def move_to_another_brand(session: Session) -> int:
    return session.execute(update(StateRow).values(brand="bravo")).rowcount


def erase_for_all(session: Session) -> int:
    changed = update(LogEntry).where(LogEntry.key_id.is_not(None)).values(key_id=None, payload=None, salt=None)
    return session.execute(changed).rowcount


def rewrite_an_entry(session: Session) -> int:
    return session.execute(update(LogEntry).where(LogEntry.key_id.is_not(None)).values(payload=b"x")).rowcount


def truncate_the_log(session: Session) -> int:
    return session.execute(text("DELETE FROM log_entries")).rowcount


def make_an_officer(session: Session) -> int:
    return session.execute(text("UPDATE principals SET role = 'officer'")).rowcount


@pytest.mark.parametrize(
    ("act", "changed"),
    [
        (spoil_choice, None),
        (withdraw_for_all, 2),
        (move_to_another_brand, None),
        (erase_for_all, 2),
        (rewrite_an_entry, None),
        (truncate_the_log, None),
        (make_an_officer, None),
    ],
    ids=lambda value: getattr(value, "__name__", "refused" if value is None else "own"),
)
def test_a_statement_that_forgets_the_brand_changes_nothing_of_another(
    work: Workplace, act: Callable[[Session], int], changed: int | None
) -> None:
    with work.acting_for("acme").reading() as unit:
        if changed is None:
            with pytest.raises(DBAPIError, match=r"row-level security|permission denied|append-only"):
                act(unit.session)
        else:
            assert act(unit.session) == changed


def test_units_that_share_a_transaction_do_not_share_a_brand(work: Workplace) -> None:
    entered, released, found = Event(), Event(), {}

    def run(brand: str | None) -> None:
        with work.acting_for(brand).writing() as unit:
            if not found:
                entered.set()
                released.wait(PATIENCE)
            (transaction,) = unit.session.execute(text("SELECT txid_current()")).one()
            found[brand] = transaction, set(unit.session.scalars(select(ChoiceRow.brand)))

    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(run, "acme")]
        assert entered.wait(PATIENCE)
        for place, brand in enumerate(("bravo", None, "nobody"), 1):
            futures.append(pool.submit(run, brand))
            waiting(work, place)
        released.set()
        for future in futures:
            future.result(PATIENCE)
    assert len({transaction for transaction, _ in found.values()}) == 1
    brands = {brand: rows for brand, (_, rows) in found.items()}
    assert brands == {"acme": {"acme"}, "bravo": {"bravo"}, None: {"acme", "bravo"}, "nobody": set()}


def waiting(work: Workplace, threads: int) -> None:
    for _ in range(int(PATIENCE * 1000)):
        if work.database._writers.waiting == threads:
            return
        Event().wait(0.001)
    raise AssertionError


def test_the_role_ends_with_the_transaction(work: Workplace) -> None:
    with work.acting_for("acme").reading():
        pass
    with work.database.reading() as session:
        assert session.scalar(text("SELECT current_user = session_user"))
        assert set(session.scalars(select(ChoiceRow.brand))) == {"acme", "bravo"}


def test_a_handler_without_its_filter_answers_only_about_the_brand_that_asks(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def coverage(unit: Unit, _brand: str) -> tuple[PurposeCoverage, ...]:
        count = unit.session.scalar(select(func.count()).select_from(StateRow)) or 0
        return (PurposeCoverage(purpose=PURPOSE, granted=count, lapsed=0, withdrawn=0, never_asked=0),)

    monkeypatch.setattr("consent.service.routes.brands.oversight.coverage", coverage)
    askers = {"acme": 2, "bravo": 1}
    for brand, own in askers.items():
        for client in (world.brand(brand), world.brand_admin(brand)):
            assert [line.granted for line in client.coverage(brand)] == [own]
    assert [line.granted for line in world.officer.coverage("acme")] == [3]


@pytest.fixture
def plain_login(empty_postgres_url: Callable[[], str]) -> Iterator[tuple[str, str]]:
    """The URL of a database that a login owns which is nothing else, and the administrator's URL."""
    admin = empty_postgres_url()
    url = make_url(admin)
    login = f"login_{url.database}"
    with psycopg.connect(admin.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {login} LOGIN")
        connection.execute(f"ALTER DATABASE {url.database} OWNER TO {login}")
        connection.execute(
            "DO $$ BEGIN CREATE ROLE confide_tenant NOLOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$"
        )
        yield url.set(username=login).render_as_string(hide_password=False), login
        connection.execute(f"REASSIGN OWNED BY {login} TO CURRENT_USER")
        connection.execute(f"DROP OWNED BY {login}")
        connection.execute(f"DROP ROLE {login}")


def administer(url: str, statement: str) -> None:
    owner = make_url(url).set(username="postgres", drivername="postgresql")
    with psycopg.connect(owner.render_as_string(hide_password=False), autocommit=True) as connection:
        connection.execute(statement)


def test_a_login_that_is_no_superuser_needs_to_be_granted_the_role(
    plain_login: tuple[str, str], consent_worlds: Any
) -> None:
    url, login = plain_login
    with pytest.raises(errors.SetupError, match="GRANT confide_tenant TO"):
        consent_worlds(database_url=url)
    administer(url, f"GRANT confide_tenant TO {login}")
    world = fill(consent_worlds(database_url=url))
    assert world.brand("acme").decide([DecisionQuery(brand="acme", subject=ANN, purpose=PURPOSE)])[0].allowed
    with world.app.state.workplace.acting_for("acme").reading() as unit:
        assert not unit.session.scalar(text("SELECT usesuper FROM pg_user WHERE usename = session_user"))
        assert set(unit.session.scalars(select(ChoiceRow.brand))) == {"acme"}
    with world.app.state.workplace.reading() as unit:
        assert set(unit.session.scalars(select(ChoiceRow.brand))) == {"acme", "bravo"}


def test_a_login_that_may_create_roles_makes_its_own(plain_login: tuple[str, str], consent_worlds: Any) -> None:
    url, login = plain_login
    administer(url, f"ALTER ROLE {login} CREATEROLE")
    administer(url, f"GRANT confide_tenant TO {login} WITH ADMIN OPTION, SET FALSE")
    world = fill(consent_worlds(database_url=url))
    with world.app.state.workplace.acting_for("bravo").reading() as unit:
        assert set(unit.session.scalars(select(ChoiceRow.brand))) == {"bravo"}


def test_sqlite_has_no_roles_to_take(consent_world: Any) -> None:
    consent_world.record("acme", Act.GRANT, ANN)
    with consent_world.app.state.workplace.acting_for("bravo").reading() as unit:
        isolation.enter(unit.session, "bravo")
        assert unit.session.scalar(select(func.count()).select_from(ChoiceRow)) == 1
