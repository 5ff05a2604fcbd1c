"""Erasure: afterwards no byte tells of the customer, every proof still holds, and the use is denied."""

import json
import logging
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from merkle_definition import consistency_proof
from rights_desk import erase_by_two, request
from sqlalchemy import func, select

from consent import errors
from consent.contract import Act, DecisionQuery
from consent.log.commitments import ErasedOpening, Opening, SealedOpening
from consent.log.merkle import inclusion_proof, leaf_hash, verify_consistency, verify_inclusion
from consent.log.payloads import Subject
from consent.log.store import entries, read_head
from consent.log.verify import verify_folder
from consent.rights import RequestKind
from consent.service.erasure import erase
from consent.store.schema import ChoiceRow, IdempotencyRow, LogEntry, ScrubRow, StateRow, SubjectKeyRow
from consent.wire import SubjectRequest

PURPOSE = "conversion"
ANN, BOB = secrets.token_hex(32), secrets.token_hex(32)


@pytest.fixture
def world(consent_worlds: Callable[..., Any], database_url: str) -> Any:
    world = consent_worlds(database_url=database_url)
    world.declare(PURPOSE)
    return world


def files(world: Any) -> dict[Path, bytes]:
    """Return every file of the service, and of its database where that is a file."""
    folders = [world.settings.data_dir]
    found = {path: path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()}
    if world.settings.url.startswith("sqlite"):
        database = Path(world.settings.url.removeprefix("sqlite:///"))
        found |= {path: path.read_bytes() for path in database.parent.glob(database.name + "*")}
    return found


def secrets_of(world: Any, subject: str) -> dict[str, bytes]:
    """Return what may lie nowhere after the erasure, in every spelling."""
    with world.app.state.workplace.reading() as unit:
        row = unit.session.scalar(select(SubjectKeyRow).where(SubjectKeyRow.subject == subject))
        stored = entries(unit.session, 0, read_head(unit.session).size)
        sealed = [one.opening for one in stored if isinstance(one.opening, SealedOpening)]
        mine = [one for one in sealed if one.key_id == row.key_id]
        opened = unit.keys.vault.open_all(unit.session, mine)
        found = {"pseudonym": subject.encode(), "raw pseudonym": bytes.fromhex(subject), "wrapped": row.wrapped}
        for one, opening in zip(mine, opened, strict=True):
            found |= {f"salt {one.index}": opening.salt, f"salt {one.index} in hex": opening.salt.hex().encode()}
            found |= {f"sealed {one.index}": one.ciphertext, f"line {one.index}": one.line()}
    return found


def place_of(world: Any, canaries: dict[str, bytes]) -> set[tuple[str, str]]:
    return {
        (what, path.name)
        for path, content in files(world).items()
        for what, canary in canaries.items()
        if canary in content
    }


def count(world: Any, *where: Any) -> int:
    with world.app.state.workplace.reading() as unit:
        return int(unit.session.scalar(select(func.count()).select_from(where[0]).where(*where[1:])))


def test_row_14_no_byte_tells_of_an_erased_customer(world: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    others = [secrets.token_hex(32) for _ in range(300)]
    for step in range(3):
        world.record("acme", [Act.GRANT, Act.WITHDRAW][step % 2], *others[:150], ANN, *others[150:])
    canaries = secrets_of(world, ANN)
    assert {what.split()[0] for what, _ in place_of(world, canaries)} >= {"line"}
    done = erase_by_two(world, ANN)
    assert (done.entries, done.choices, done.scrubbed) == (4, 3, True)
    world.record("acme", Act.GRANT, *others)
    assert place_of(world, canaries) == set()
    assert ANN not in caplog.text
    for table in (ChoiceRow, StateRow, SubjectKeyRow):
        assert count(world, table, table.subject == ANN) == 0
        assert count(world, table, table.subject == others[0]) > 0


def test_every_proof_and_the_verification_hold_after_an_erasure(world: Any, tmp_path: Path) -> None:
    world.record("acme", Act.GRANT, ANN, BOB)
    kept = tmp_path / "kept"
    kept.write_text((world.settings.log_dir / "checkpoint").read_text())
    leaves, root = tree(world)
    proofs = [inclusion_proof(leaves, index) for index in range(len(leaves))]
    world.erase("acme", ANN)
    world.record("acme", Act.GRANT, BOB)
    after, new_root = tree(world)
    assert after[: len(leaves)] == leaves
    for index, proof in enumerate(proofs):
        verify_inclusion(leaf=after[index], index=index, size=len(leaves), proof=proof, root=root)
    path = consistency_proof(after, len(leaves))
    verify_consistency(old_size=len(leaves), old_root=root, new_size=len(after), new_root=new_root, proof=path)
    report = verify_folder(world.settings.log_dir, since=kept)
    assert (report.findings, report.erased, report.sealed, report.withheld) == ([], 1, 2, 0)


def tree(world: Any) -> tuple[list[bytes], bytes]:
    with world.app.state.workplace.reading() as unit:
        head = read_head(unit.session)
        return [leaf_hash(one.entry) for one in entries(unit.session, 0, head.size)], head.root()


def test_an_erased_customer_is_unknown_and_denied(world: Any) -> None:
    world.record("acme", Act.GRANT, ANN, BOB)
    world.coordinator.seal_snapshots(PURPOSE, ["acme"])
    acme = world.brand("acme")
    world.erase("acme", ANN)
    decision = acme.decide([DecisionQuery(brand="acme", subject=ANN, purpose=PURPOSE)])[0]
    assert (decision.allowed, decision.reason.value) == (False, "no_grant")
    with pytest.raises(errors.StaleSnapshotError):
        acme.current_snapshot(PURPOSE)
    world.coordinator.seal_snapshots(PURPOSE, ["acme"])
    assert acme.current_snapshot(PURPOSE).members == (BOB,)
    assert acme.participation("acme", ANN) == ()


def test_the_erasure_is_an_entry_that_names_nobody(world: Any) -> None:
    world.record("acme", Act.GRANT, ANN)
    done = world.erase("acme", ANN)
    with world.app.state.workplace.reading() as unit:
        (stored,) = entries(unit.session, done.log_index, done.log_index + 1)
    assert isinstance(stored.opening, Opening)
    payload = json.loads(stored.opening.payload)
    assert ANN not in stored.opening.payload.decode()
    assert (payload["kind"], payload["destroyed"]["entries"], payload["destroyed"]["choices"]) == (
        "subject_erased",
        1,
        1,
    )
    assert payload["remains"] == {
        "leaf_hashes": 1,
        "rounds": [],
        "what": ["leaf_hashes", "aggregate_counts", "snapshot_roots", "released_statistics"],
    }


def test_erasing_again_or_somebody_unknown_changes_nothing(world: Any) -> None:
    world.record("acme", Act.GRANT, ANN)
    world.brand("other")
    world.erase("acme", ANN)
    size = tree(world)
    for brand, subject in (("acme", ANN), ("acme", BOB), ("other", ANN), ("nobody", ANN)):
        again = world.erase(brand, subject)
        assert (again.log_index, again.entries, again.scrubbed) == (None, 0, True)
    assert tree(world) == size


def test_the_same_pseudonym_at_another_brand_is_another_customer(world: Any) -> None:
    world.record("acme", Act.GRANT, ANN)
    world.record("other", Act.GRANT, ANN)
    world.erase("acme", ANN)
    assert [count(world, table, table.subject == ANN) for table in (ChoiceRow, StateRow, SubjectKeyRow)] == [
        1,
        1,
        1,
    ]


def test_a_customer_who_comes_back_gets_another_key(world: Any) -> None:
    world.record("acme", Act.GRANT, ANN)
    before = secrets_of(world, ANN)
    world.erase("acme", ANN)
    world.record("acme", Act.GRANT, ANN)
    assert not set(secrets_of(world, ANN).values()) & set(before.values()) - {ANN.encode(), bytes.fromhex(ANN)}
    query = DecisionQuery(brand="acme", subject=ANN, purpose=PURPOSE)
    assert world.brand("acme").decide([query])[0].allowed


def test_a_batch_with_an_erased_customer_is_not_recorded_again(world: Any) -> None:
    world.record("acme", Act.GRANT, BOB)
    acme, batch = world.brand("acme"), [world.choice("acme", ANN, Act.GRANT), world.choice("acme", BOB, Act.GRANT)]
    indices = acme.record(batch, idempotency_key="both")
    assert acme.record(batch, idempotency_key="both") == indices
    world.erase("acme", ANN)
    assert count(world, IdempotencyRow, IdempotencyRow.request.is_(None)) == 1
    with pytest.raises(errors.ConflictError):
        acme.record(batch, idempotency_key="both")


@pytest.mark.parametrize("step", ["_forget_requests", "_destroy", "_account", "rebuilt", "request_scrub"])
def test_a_fault_in_the_middle_leaves_everything(world: Any, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    world.record("acme", Act.GRANT, ANN)
    asked, second = world.officer.ask_right(request(ANN, RequestKind.ERASURE)), world.second_officer
    before = tree(world), secrets_of(world, ANN)

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(f"consent.service.erasure.{step}", fail)
        with pytest.raises(errors.UnavailableError):
            second.approve_request(asked.request_id)
    assert (tree(world), secrets_of(world, ANN)) == before
    assert second.approve_request(asked.request_id).erasure.entries == 2


def test_row_22_a_crash_after_the_commit_is_scrubbed_at_the_next_publication(world: Any) -> None:
    world.record("acme", Act.GRANT, ANN, BOB)
    canaries = secrets_of(world, ANN)
    place = world.app.state.workplace
    with suppress(ZeroDivisionError), place.database.writing() as session:
        erase(place._unit(session), SubjectRequest(brand="acme", subject=ANN))
    assert "000000.ndjson" in {name for _, name in place_of(world, canaries)}
    done = world.erase("acme", ANN)
    assert (done.entries, done.scrubbed) == (0, True)
    assert place_of(world, canaries) == set()
    assert verify_folder(world.settings.log_dir).findings == []


def test_a_large_database_is_left_for_later_and_its_openings_are_not(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.record("acme", Act.GRANT, ANN)
    canaries = secrets_of(world, ANN)
    monkeypatch.setattr("consent.service.erasure.scrub_database", lambda _: False)
    assert world.erase("acme", ANN).scrubbed is False
    assert count(world, ScrubRow) == 1
    assert "000000.ndjson" not in {name for _, name in place_of(world, canaries)}


def test_a_log_that_can_not_be_published_does_not_keep_the_database_from_being_scrubbed(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.record("acme", Act.GRANT, ANN)
    canaries = secrets_of(world, ANN)

    def fail() -> None:
        raise errors.QuorumError("Too few witnesses.")

    with monkeypatch.context() as patch:
        patch.setattr(world.app.state.workplace, "publish_now", fail)
        patch.setattr(world.app.state.workplace._publishing, "appended", lambda: None)
        assert world.erase("acme", ANN).scrubbed is False
    assert {name for _, name in place_of(world, canaries)} == {"000000.ndjson"}
    assert world.erase("acme", ANN).scrubbed is True
    assert place_of(world, canaries) == set()


def test_what_is_erased_before_it_was_published_is_published_as_erased(world: Any) -> None:
    place = world.app.state.workplace
    world.record("acme", Act.GRANT, BOB)
    with place.database.writing() as session:
        unit = place._unit(session)
        unit.log("test", {"about": ANN}, subject=Subject("acme", ANN))
    with place.database.writing() as session:
        assert erase(place._unit(session), SubjectRequest(brand="acme", subject=ANN)).entries == 1
    place.publish_now()
    report = verify_folder(world.settings.log_dir)
    assert (report.findings, report.erased) == ([], 1)
    with place.reading() as unit:
        kinds = [type(one.opening) for one in entries(unit.session, 0, read_head(unit.session).size)]
    assert kinds.count(ErasedOpening) == 1
    assert count(world, LogEntry, LogEntry.key_id.is_not(None)) == 1
