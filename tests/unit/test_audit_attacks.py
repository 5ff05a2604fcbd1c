"""Attacks on the log and failures under it, one test for each, named after its row in the list of attacks."""

import hashlib
import logging
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
from log_looks import look
from sqlalchemy.exc import DBAPIError

from consent.contract import Act, DecisionQuery
from consent.errors import ConsentError, LogInconsistentError, UnavailableError
from consent.log.note import open_checkpoint
from consent.log.proof import EntryProof
from consent.log.store import append, create_head, entries, read_head
from consent.log.verify import verify_folder
from consent.searching import LogQuery
from consent.service import create_app
from consent.service.routes import ROUTERS
from consent.service.work import Workplace
from consent.store import Database

ANN, EVE = (hashlib.sha256(name.encode()).hexdigest() for name in ("canary-ann", "canary-eve"))
IDENTITY = "canary.ann@example.com"
PURPOSE = "conversion"


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database.connect(database_url)
    database.migrate()
    with database.writing() as session:
        create_head(session)
        append(session, [{"kind": "test", "number": number} for number in range(3)])
    yield database
    database.close()


def test_row_05_two_services_write_one_log_and_can_not_fork_it(consent_world: Any) -> None:
    ours: Workplace = consent_world.app.state.workplace
    theirs: Workplace = create_app(consent_world.settings).state.workplace
    before = ours.publisher.size

    def write(numbered: tuple[int, Workplace]) -> None:
        for _ in range(15):
            with numbered[1].writing() as unit:
                unit.log("test", {"writer": numbered[0]})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, enumerate([ours, theirs, ours, theirs])))
    theirs.close()
    report = verify_folder(consent_world.settings.log_dir)
    assert (report.findings, report.size) == ([], before + 60)
    assert ours.healthy


def test_row_12_no_identifier_outside_the_body_that_must_hold_it(
    consent_world: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Planted: an address that a client sends by mistake, and pseudonyms, which belong in the database alone."""
    caplog.set_level(logging.DEBUG)
    consent_world.record("acme", Act.GRANT, ANN)
    brand, officer, said = consent_world.brand("acme"), consent_world.officer, []
    brand.decide([DecisionQuery(brand="acme", subject=ANN, purpose=PURPOSE)])
    officer.search_log(LogQuery(**look(consent_world, ANN)))
    for subject in (ANN, EVE):
        brand.search_log(LogQuery(brand="acme", subject=subject))
        officer.participation("acme", subject)
    for path, body in (
        ("/v1/choices", {"idempotency_key": IDENTITY, "choices": [{"subject": IDENTITY}]}),
        ("/v1/log/search", {"brand": "acme", "subject": IDENTITY}),
        ("/v1/log/search", {"cursor": IDENTITY}),
        (f"/v1/log/{IDENTITY}", {}),
        (f"/v1/subjects/{ANN}", {}),
    ):
        headers = {"Authorization": f"Bearer {consent_world.tokens['acme']}"}
        answer = consent_world.http.post(path, json=body, headers=headers)
        assert answer.status_code >= 400
        said.append(answer.text)
    said.append(consent_world.http.get("/healthz").text)
    said += [record.getMessage() for record in caplog.records if not record.name.startswith("http")]
    folder = consent_world.settings.data_dir
    kept = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert any(ANN.encode() in content for name, content in kept.items() if "consent.db" in name)
    for canary in (IDENTITY, ANN, EVE):
        spoken = [canary, canary.upper(), hashlib.sha256(canary.encode()).hexdigest()]
        found = [name for name in kept if any(one in name for one in spoken)]
        found += [
            name
            for name, content in kept.items()
            if any(one.encode() in content for one in spoken) and ("consent.db" not in name or canary != ANN)
        ]
        assert found == []
        assert not any(one in text for text in said for one in spoken)


@pytest.mark.parametrize("part", ["tile/entries/*", "tile/0/*", "openings/*"])
def test_row_22_a_checkpoint_ahead_of_its_files_is_found_and_not_built_upon(consent_world: Any, part: str) -> None:
    folder = consent_world.settings.log_dir
    kept = verify_folder(folder)
    assert kept.verified
    for path in folder.glob(part):
        shutil.rmtree(path) if path.is_dir() else path.write_bytes(path.read_bytes()[:-40])
    assert not verify_folder(folder).verified
    if part.startswith("tile"):
        with pytest.raises(LogInconsistentError, match="damaged"):
            create_app(consent_world.settings)


def test_row_22_a_choice_and_its_entry_are_there_together_or_not_at_all(
    consent_world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    consent_world.brand("acme")
    before = verify_folder(consent_world.settings.log_dir).size

    def crash(*_: object) -> None:
        raise OSError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr("consent.service.choices._fold", crash)
        with pytest.raises(ConsentError):
            consent_world.record("acme", Act.GRANT, ANN)
    with consent_world.app.state.workplace.reading() as unit:
        assert read_head(unit.session).size == before
    assert consent_world.brand("acme").search_log(LogQuery(brand="acme", subject=ANN)).entries == ()


def test_row_23_a_database_that_can_not_be_written_grants_nothing(
    consent_worlds: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A foreign process holds the database's write lock for longer than the service is willing to wait."""
    monkeypatch.setattr("consent.store.database.BUSY_TIMEOUT_MS", 1)
    world = consent_worlds()
    world.declare(PURPOSE)
    brand = world.brand("acme")
    with closing(sqlite3.connect(world.settings.data_dir / "consent.db", isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(UnavailableError):
            world.record("acme", Act.GRANT, ANN)
        assert not brand.decide([DecisionQuery(brand="acme", subject=ANN, purpose=PURPOSE)])[0].allowed
        holder.execute("ROLLBACK")
    world.record("acme", Act.GRANT, ANN)
    assert brand.decide([DecisionQuery(brand="acme", subject=ANN, purpose=PURPOSE)])[0].allowed


def test_row_23_a_folder_that_can_not_be_written_turns_health_red_and_is_caught_up(
    consent_world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    consent_world.brand("acme")

    def full(*_: object) -> None:
        raise OSError("read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr("consent.log.publisher.write_atomically", full)
        consent_world.record("acme", Act.WITHDRAW, ANN)
        assert consent_world.http.get("/readyz").status_code == 503
    consent_world.record("acme", Act.WITHDRAW, EVE)
    assert consent_world.http.get("/readyz").status_code == 200
    assert verify_folder(consent_world.settings.log_dir).findings == []


def test_row_25_a_proof_and_its_head_are_of_one_view_while_the_tree_grows(consent_world: Any) -> None:
    workplace: Workplace = consent_world.app.state.workplace
    stopped = threading.Event()

    def grow() -> None:
        while not stopped.is_set():
            with workplace.writing() as unit:
                unit.log_all("test", [{"number": number} for number in range(7)])

    thread = threading.Thread(target=grow)
    thread.start()
    sizes = set()
    for _ in range(1_000):
        if len(sizes) > 2:
            break
        answer = consent_world.http.get("/v1/log/proofs/1")
        proof = EntryProof.parse(answer.text)
        checkpoint = open_checkpoint(proof.note, workplace.publisher.verifier)
        proof.verify(checkpoint)
        sizes.add(checkpoint.size)
    stopped.set()
    thread.join()
    assert len(sizes) > 1


STATEMENTS = {
    "delete an entry": "DELETE FROM log_entries WHERE log_index = 1",
    "delete all": "DELETE FROM log_entries",
    "change an entry": "UPDATE log_entries SET entry = salt WHERE log_index = 1",
    "move an entry": "UPDATE log_entries SET log_index = 99 WHERE log_index = 2",
    "change what an entry says": "UPDATE log_entries SET payload = salt WHERE log_index = 1",
    "shrink the log": "UPDATE log_head SET size = 1",
    "forget the head": "DELETE FROM log_head",
    "clear": "TRUNCATE log_entries CASCADE",
}


@pytest.mark.parametrize("statement", STATEMENTS.values(), ids=STATEMENTS)
def test_row_26_the_database_refuses_to_change_what_is_logged(database: Database, statement: str) -> None:
    with pytest.raises(DBAPIError, match=r"append-only|syntax error"), database.writing() as session:
        session.connection().exec_driver_sql(statement)
    with database.reading() as session:
        assert [stored.index for stored in entries(session, 0, read_head(session).size)] == [0, 1, 2]


def test_row_26_erasure_alone_may_take_an_opening_away(database: Database) -> None:
    with database.writing() as session:
        erased = "UPDATE log_entries SET payload = NULL, salt = NULL WHERE log_index = 1"
        session.connection().exec_driver_sql(erased)
    with database.writing() as session:
        append(session, [{"kind": "test"}])


def test_row_26_no_route_deletes_or_replaces_but_for_settings_of_a_brand() -> None:
    routes = [vars(route) for router in ROUTERS for route in router.routes]
    found = {(method, route["path"]) for route in routes for method in route["methods"]}
    assert {each for each in found if each[0] not in {"GET", "HEAD", "POST"}} == {
        ("PUT", "/v1/brands/{brand}/controller"),
        ("PUT", "/v1/brands/{brand}/signal-mapping"),
        ("DELETE", "/v1/webhooks/{webhook_id}"),
    }


def test_row_27_whoever_looks_at_a_customer_leaves_a_trace_under_that_customers_key(consent_world: Any) -> None:
    consent_world.record("acme", Act.GRANT, ANN)
    officer = consent_world.officer
    officer.participation("acme", ANN)
    consent_world.brand("acme").participation("acme", ANN)
    wanted = LogQuery(**look(consent_world, ANN))
    officer.search_log(wanted)
    history = officer.search_log(wanted).entries
    looks = [(hit.payload["kind"], hit.payload["reader"]) for hit in history if "reader" in hit.payload]
    assert looks == [
        ("participation_read", "officer"),
        ("participation_read", "brand"),
        ("log_searched", "officer"),
    ]
    with consent_world.app.state.workplace.reading() as unit:
        (sealed,) = [one.opening for one in entries(unit.session, *_last(unit.session))]
    assert not hasattr(sealed, "payload")


def _last(session: Any) -> tuple[int, int]:
    size = read_head(session).size
    return size - 1, size
