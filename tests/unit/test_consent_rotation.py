"""The log's key changes hands: heads by both, a statement by the old one, then heads by the new one alone."""

import json
import stat
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from consent.commands import consent
from consent.contract import Act
from consent.errors import InvalidRequestError, LogError, SetupError, SignatureError
from consent.log.commitments import Opening
from consent.log.note import Note, VerifierKey, open_checkpoint
from consent.log.signers import RotationStatement
from consent.log.store import entries, read_head
from consent.log.verify import verify_folder
from consent.service import create_app
from consent.service.rotation import rotate_log_key

PURPOSE = "conversion"
ANN = "a" * 64
DAY = timedelta(days=1)


@pytest.fixture
def world(consent_worlds: Callable[..., Any], database_url: str) -> Any:
    world = consent_worlds(database_url=database_url)
    world.declare(PURPOSE)
    return world


def checkpoint(world: Any) -> str:
    return str((world.settings.log_dir / "checkpoint").read_text())


def signers(world: Any, *keys: VerifierKey) -> set[VerifierKey]:
    return set(Note.parse(checkpoint(world)).signers(keys))


def rotate(world: Any, overlap: timedelta = DAY) -> tuple[VerifierKey, VerifierKey]:
    work = world.app.state.workplace
    old = work.publisher.verifier
    return old, rotate_log_key(work, world.settings.data_dir, overlap=overlap)


def statements(world: Any) -> list[dict[str, Any]]:
    with world.app.state.workplace.reading() as unit:
        stored = entries(unit.session, 0, read_head(unit.session).size)
        payloads = [json.loads(one.opening.payload) for one in stored if isinstance(one.opening, Opening)]
    return [payload for payload in payloads if payload["kind"] == "log_key_rotated"]


def test_row_24_both_keys_sign_during_the_overlap_and_the_new_one_afterwards(world: Any) -> None:
    old, new = rotate(world)
    assert signers(world, old, new) == {old, new}
    for key in (old, new):
        assert open_checkpoint(checkpoint(world), key).size == 4
    world.clock.advance(DAY.total_seconds() - 10)
    world.record("acme", Act.GRANT, ANN)
    assert signers(world, old, new) == {old, new}
    world.clock.advance(20)
    world.record("acme", Act.WITHDRAW, ANN)
    assert signers(world, old, new) == {new}


def test_a_log_verifies_with_either_key_across_a_rotation(world: Any, tmp_path: Path) -> None:
    kept, vkeys = tmp_path / "kept", tmp_path / "vkeys"
    kept.write_text(checkpoint(world))
    old, new = rotate(world)
    world.record("acme", Act.GRANT, ANN)
    for key in (old, new):
        vkeys.write_text(f"{key.encode()}\n")
        assert verify_folder(world.settings.log_dir, vkey=vkeys).findings == []
    vkeys.write_text(f"{new.encode()}\n{old.encode()}\n")
    assert (world.settings.log_dir / "vkey").read_text() == vkeys.read_text()
    world.clock.advance(DAY.total_seconds())
    world.record("acme", Act.WITHDRAW, ANN)
    assert verify_folder(world.settings.log_dir, vkey=vkeys, since=kept).findings == []
    assert (world.settings.log_dir / "vkey").read_text() == f"{new.encode()}\n"
    vkeys.write_text(f"{old.encode()}\n")
    assert not verify_folder(world.settings.log_dir, vkey=vkeys).verified


def test_the_old_key_says_which_key_follows(world: Any) -> None:
    old, new = rotate(world)
    (payload,) = statements(world)
    statement = RotationStatement.verify(payload, old)
    assert (statement.new, statement.overlap_until) == (new, world.clock() + DAY)
    with pytest.raises(SignatureError):
        RotationStatement.verify(payload, new)
    for name, value in (("new", old.encode()), ("overlap_until", "2030-01-01T00:00:00+00:00")):
        with pytest.raises(SignatureError):
            RotationStatement.verify({**payload, name: value}, old)
    with pytest.raises(LogError):
        RotationStatement.verify({"kind": "log_key_rotated"}, old)


def test_keys_follow_each_other_and_the_statements_form_a_chain(world: Any) -> None:
    first, second = rotate(world)
    again, third = rotate(world)
    assert again == second
    assert signers(world, first, second, third) == {first, second, third}
    trusted = first
    for payload in statements(world):
        trusted = RotationStatement.verify(payload, trusted).new
    assert trusted == third


def test_a_service_that_runs_meanwhile_follows_and_one_that_starts_later_too(world: Any) -> None:
    other = create_app(world.settings, clock=world.clock).state.workplace
    old, new = rotate(world, timedelta())
    with other.writing() as unit:
        unit.log("test", {})
    assert other.healthy
    assert signers(world, old, new) == {new}
    other.close()
    create_app(world.settings, clock=world.clock).state.workplace.close()


def test_a_start_after_the_overlap_accepts_the_head_that_the_old_key_signed(world: Any) -> None:
    """A crash between the commit of a rotation and its publication."""
    work = world.app.state.workplace
    before = checkpoint(world)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(work, "publish_now", lambda: None)
        patch.setattr(work._publishing, "appended", lambda: None)
        old, new = rotate(world)
    assert checkpoint(world) == before
    world.clock.advance(2 * DAY.total_seconds())
    create_app(world.settings, clock=world.clock).state.workplace.close()
    assert signers(world, old, new) == {new}


def test_a_crash_before_the_commit_changes_nothing(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    before, key = checkpoint(world), (world.settings.data_dir / "log.key").read_bytes()

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr("consent.service.rotation.LogKeyRow", fail)
        with pytest.raises(ZeroDivisionError):
            rotate(world)
    assert (checkpoint(world), (world.settings.data_dir / "log.key").read_bytes()) == (before, key)
    assert statements(world) == []
    create_app(world.settings, clock=world.clock).state.workplace.close()
    old, new = rotate(world)
    assert signers(world, old, new) == {old, new}


def test_a_crash_after_the_commit_still_finds_the_new_key(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    old_key = (world.settings.data_dir / "log.key").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", fail)
        with pytest.raises(ZeroDivisionError):
            rotate(world)
    assert (world.settings.data_dir / "log.key").read_bytes() == old_key
    work = create_app(world.settings, clock=world.clock).state.workplace
    assert len(signers(world, *work.publisher.verifiers)) == 2
    work.close()


def test_the_old_private_key_can_be_destroyed_after_the_overlap_and_not_before(world: Any) -> None:
    old, _ = rotate(world)
    path = world.settings.data_dir / f"log.{old.key_id.hex()}.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    raw = path.read_bytes()
    path.unlink()
    with pytest.raises(SetupError, match="lost key"):
        create_app(world.settings, clock=world.clock)
    path.write_bytes(raw)
    path.chmod(0o600)
    world.clock.advance(DAY.total_seconds())
    path.unlink()
    create_app(world.settings, clock=world.clock).state.workplace.close()


@pytest.mark.parametrize("overlap", [timedelta(seconds=-1), timedelta(days=367)])
def test_an_overlap_has_bounds(world: Any, overlap: timedelta) -> None:
    with pytest.raises(InvalidRequestError):
        rotate(world, overlap)


def test_the_command_rotates(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONFIDE_CONSENT_DATA_DIR", str(world.settings.data_dir))
    monkeypatch.setenv("CONFIDE_CONSENT_DATABASE_URL", world.settings.url)
    done = CliRunner().invoke(consent, ["rotate-key", "--overlap-days", "30"])
    assert done.exit_code == 0, done.stderr
    (new, old) = [VerifierKey.parse(line) for line in (world.settings.log_dir / "vkey").read_text().splitlines()]
    assert new.encode() in done.stdout
    assert signers(world, old, new) == {old, new}
    done = CliRunner().invoke(consent, ["rotate-key", "--overlap-days", "1000"])
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)
