"""A key of the log changes hands, of either kind: both sign for a while, and the old one says which follows it."""

import stat
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from turning_keys import DAY, TurningKeys
from typer.testing import CliRunner

from consent.commands import consent
from consent.contract import Act
from consent.errors import InvalidRequestError, LogError, SetupError, SignatureError
from consent.log.note import VerifierKey, open_checkpoint, verifier_key
from consent.log.signers import RotationStatement
from consent.log.verify import verify_folder
from consent.service.keys import LogKeyKind

PURPOSE = "conversion"
ANN = "a" * 64


@pytest.fixture(params=LogKeyKind, ids=[kind.value for kind in LogKeyKind])
def turning(consent_worlds: Callable[..., Any], database_url: str, request: pytest.FixtureRequest) -> TurningKeys:
    kind: LogKeyKind = request.param
    world = consent_worlds(database_url=database_url, log_mldsa=kind is LogKeyKind.MLDSA44)
    world.declare(PURPOSE)
    return TurningKeys(world, kind)


def fail(*_: object, **__: object) -> None:
    raise ZeroDivisionError


def lines_of(*keys: VerifierKey) -> str:
    return "".join(f"{key.encode()}\n" for key in keys)


def test_row_24_both_keys_sign_during_the_overlap_and_the_new_one_afterwards(turning: TurningKeys) -> None:
    world, beside = turning.world, turning.beside
    old, new = turning.rotate()
    assert turning.signers(*beside, old, new) == {*beside, old, new}
    for key in (old, new):
        assert open_checkpoint(turning.head(), *beside, key).size == 4
    world.clock.advance(DAY.total_seconds() - 10)
    world.record("acme", Act.GRANT, ANN)
    assert turning.signers(*beside, old, new) == {*beside, old, new}
    world.clock.advance(20)
    world.record("acme", Act.WITHDRAW, ANN)
    assert turning.signers(*beside, old, new) == {*beside, new}
    with pytest.raises(SignatureError):
        open_checkpoint(turning.head(), *beside, old)


def test_a_log_verifies_with_either_key_across_a_rotation(turning: TurningKeys, tmp_path: Path) -> None:
    world, beside, published = turning.world, turning.beside, turning.world.settings.log_dir
    kept, trusted = tmp_path / "kept", tmp_path / "vkeys"
    kept.write_text(turning.head())
    old, new = turning.rotate()
    world.record("acme", Act.GRANT, ANN)
    for keys in ((old,), (new,), (new, old)):
        trusted.write_text(lines_of(*beside, *keys))
        assert verify_folder(published, vkey=trusted).findings == []
    assert (published / "vkey").read_text() == lines_of(*beside, new, old)
    world.clock.advance(DAY.total_seconds())
    world.record("acme", Act.WITHDRAW, ANN)
    assert verify_folder(published, vkey=trusted, since=kept).findings == []
    assert (published / "vkey").read_text() == lines_of(*beside, new)
    trusted.write_text(lines_of(*beside, old))
    assert not verify_folder(published, vkey=trusted).verified


def test_the_old_key_says_which_key_follows(turning: TurningKeys) -> None:
    old, new = turning.rotate()
    (payload,) = turning.statements()
    statement = RotationStatement.verify(payload, old)
    assert (statement.old, statement.new, statement.overlap_until) == (old, new, turning.world.clock() + DAY)
    other = verifier_key(old.name, turning.kind.generate()).encode()
    for changed, trusted in (
        (payload, new),
        *((payload, key) for key in turning.beside),
        ({**payload, "new": other}, old),
        ({**payload, "new": old.encode()}, old),
        ({**payload, "overlap_until": "2030-01-01T00:00:00+00:00"}, old),
        ({**payload, "signature": payload["signature"][:-8] + "AAAAAA=="}, old),
    ):
        with pytest.raises(SignatureError):
            RotationStatement.verify(changed, trusted)
    with pytest.raises(LogError):
        RotationStatement.verify({"kind": "log_key_rotated"}, old)


def test_keys_follow_each_other_and_the_statements_form_a_chain(turning: TurningKeys) -> None:
    first, second = turning.rotate()
    again, third = turning.rotate()
    assert again == second
    assert turning.signers(first, second, third) == {first, second, third}
    trusted = first
    for payload in turning.statements():
        trusted = RotationStatement.verify(payload, trusted).new
    assert trusted == third


def test_a_service_that_runs_meanwhile_follows_and_one_that_starts_later_too(turning: TurningKeys) -> None:
    other = turning.start_another()
    old, new = turning.rotate(timedelta())
    with other.writing() as unit:
        unit.log("test", {})
    assert other.healthy
    assert turning.signers(old, new) == {new}
    other.close()
    turning.start_another().close()


def test_a_start_after_the_overlap_accepts_the_head_that_the_old_key_signed(turning: TurningKeys) -> None:
    """A crash between the commit of a rotation and its publication."""
    work, before = turning.world.app.state.workplace, turning.head()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(work, "publish_now", lambda: None)
        patch.setattr(work._publishing, "appended", lambda: None)
        old, new = turning.rotate()
    assert turning.head() == before
    turning.world.clock.advance(2 * DAY.total_seconds())
    turning.start_another().close()
    assert turning.signers(old, new) == {new}


def test_a_crash_before_the_commit_changes_nothing(turning: TurningKeys, monkeypatch: pytest.MonkeyPatch) -> None:
    before, key = turning.head(), turning.file().read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("consent.service.rotation.LogKeyRow", fail)
        with pytest.raises(ZeroDivisionError):
            turning.rotate()
    assert (turning.head(), turning.file().read_bytes()) == (before, key)
    assert turning.statements() == []
    turning.start_another().close()
    old, new = turning.rotate()
    assert turning.signers(old, new) == {old, new}


def test_a_crash_after_the_commit_still_finds_the_new_key(
    turning: TurningKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_key = turning.file().read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", fail)
        with pytest.raises(ZeroDivisionError):
            turning.rotate()
    assert turning.file().read_bytes() == old_key
    work = turning.start_another()
    assert len(turning.of(work)) == 2
    assert turning.signers(*work.publisher.verifiers) == set(work.publisher.verifiers)
    work.close()


def test_the_old_private_key_can_be_destroyed_after_the_overlap_and_not_before(turning: TurningKeys) -> None:
    old, _ = turning.rotate()
    path = turning.file(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    raw = path.read_bytes()
    path.unlink()
    with pytest.raises(SetupError, match="lost key"):
        turning.start_another()
    path.write_bytes(raw)
    path.chmod(0o600)
    turning.world.clock.advance(DAY.total_seconds())
    path.unlink()
    turning.start_another().close()


@pytest.mark.parametrize("overlap", [timedelta(seconds=-1), timedelta(days=367)])
def test_an_overlap_has_bounds(turning: TurningKeys, overlap: timedelta) -> None:
    with pytest.raises(InvalidRequestError):
        turning.rotate(overlap)


def test_the_command_rotates(turning: TurningKeys, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, beside = turning.world.settings, turning.beside
    monkeypatch.setenv("CONFIDE_CONSENT_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("CONFIDE_CONSENT_DATABASE_URL", settings.url)
    monkeypatch.setenv("CONFIDE_CONSENT_LOG_MLDSA", str(settings.log_mldsa))
    which = [turning.kind.value] if beside else []
    done = CliRunner().invoke(consent, ["rotate-key", *which, "--overlap-days", "30"])
    assert done.exit_code == 0, done.stderr
    assert turning.vkeys()[: len(beside)] == list(beside)
    new, old = turning.vkeys()[len(beside) :]
    assert new.encode() in done.stdout
    assert turning.signers(old, new) == {old, new}
    done = CliRunner().invoke(consent, ["rotate-key", *which, "--overlap-days", "1000"])
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)
