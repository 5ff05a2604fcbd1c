"""The log's ML-DSA-44 key changes hands as its Ed25519 key does, and neither stands in for the other."""

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
from consent.errors import InvalidRequestError, SetupError, SignatureError
from consent.log.commitments import Opening
from consent.log.mldsa import MldsaKey
from consent.log.note import MLDSA44, Note, VerifierKey, open_checkpoint, verifier_key
from consent.log.signers import RotationStatement
from consent.log.store import entries, read_head
from consent.log.verify import verify_folder
from consent.service import create_app
from consent.service.keys import LogKeyKind
from consent.service.rotation import rotate_log_key

PURPOSE = "conversion"
ANN = "a" * 64
DAY = timedelta(days=1)


@pytest.fixture
def world(consent_worlds: Callable[..., Any], database_url: str) -> Any:
    world = consent_worlds(database_url=database_url, log_mldsa=True)
    world.declare(PURPOSE)
    return world


def head(world: Any) -> str:
    return str((world.settings.log_dir / "checkpoint").read_text())


def signers(world: Any, *keys: VerifierKey) -> set[VerifierKey]:
    return set(Note.parse(head(world)).signers(keys))


def mldsa_keys(work: Any) -> list[VerifierKey]:
    return [key for key in work.publisher.verifiers if key.algorithm == MLDSA44]


def rotate(
    world: Any, overlap: timedelta = DAY, kind: LogKeyKind = LogKeyKind.MLDSA44
) -> tuple[VerifierKey, VerifierKey]:
    work = world.app.state.workplace
    (old, *_) = mldsa_keys(work) if kind is LogKeyKind.MLDSA44 else work.publisher.verifiers
    return old, rotate_log_key(work, world.settings.data_dir, overlap=overlap, kind=kind)


def statements(world: Any) -> list[dict[str, Any]]:
    with world.app.state.workplace.reading() as unit:
        stored = entries(unit.session, 0, read_head(unit.session).size)
        payloads = [json.loads(one.opening.payload) for one in stored if isinstance(one.opening, Opening)]
    return [payload for payload in payloads if payload["kind"] == "log_key_rotated"]


def test_row_24_both_mldsa_keys_sign_during_the_overlap_and_the_new_one_afterwards(world: Any) -> None:
    ed25519 = world.app.state.workplace.publisher.verifier
    old, new = rotate(world)
    assert signers(world, ed25519, old, new) == {ed25519, old, new}
    for key in (old, new):
        assert open_checkpoint(head(world), ed25519, key).size == 4
    world.clock.advance(DAY.total_seconds() + 10)
    world.record("acme", Act.GRANT, ANN)
    assert signers(world, ed25519, old, new) == {ed25519, new}
    with pytest.raises(SignatureError, match="each type"):
        open_checkpoint(head(world), ed25519, old)


def test_a_log_verifies_with_either_mldsa_key_across_a_rotation(world: Any, tmp_path: Path) -> None:
    ed25519 = world.app.state.workplace.publisher.verifier
    kept, vkeys = tmp_path / "kept", tmp_path / "vkeys"
    kept.write_text(head(world))
    old, new = rotate(world)
    world.record("acme", Act.GRANT, ANN)
    for keys in ((ed25519, old), (ed25519, new), (ed25519, new, old)):
        vkeys.write_text("".join(f"{key.encode()}\n" for key in keys))
        assert verify_folder(world.settings.log_dir, vkey=vkeys).findings == []
    assert (world.settings.log_dir / "vkey").read_text() == vkeys.read_text()
    world.clock.advance(DAY.total_seconds())
    world.record("acme", Act.WITHDRAW, ANN)
    assert verify_folder(world.settings.log_dir, vkey=vkeys, since=kept).findings == []
    vkeys.write_text(f"{ed25519.encode()}\n{old.encode()}\n")
    assert not verify_folder(world.settings.log_dir, vkey=vkeys).verified


def test_the_old_mldsa_key_says_which_one_follows(world: Any) -> None:
    ed25519 = world.app.state.workplace.publisher.verifier
    old, new = rotate(world)
    (payload,) = statements(world)
    statement = RotationStatement.verify(payload, old)
    assert (statement.old, statement.new, statement.overlap_until) == (old, new, world.clock() + DAY)
    other = verifier_key(old.name, MldsaKey.generate()).encode()
    for changed, trusted in (
        (payload, new),
        (payload, ed25519),
        ({**payload, "new": other}, old),
        ({**payload, "signature": payload["signature"][:-8] + "AAAAAA=="}, old),
    ):
        with pytest.raises(SignatureError):
            RotationStatement.verify(changed, trusted)


def test_a_key_of_one_kind_never_hands_over_to_the_other(world: Any) -> None:
    """A thief of the Ed25519 key can not replace the key that holds against quantum computers."""
    ed25519 = world.app.state.workplace.publisher.verifier
    (mldsa,) = mldsa_keys(world.app.state.workplace)
    key = LogKeyKind.ED25519.load((world.settings.data_dir / "log.key").read_bytes())
    crossed = RotationStatement(ed25519, mldsa, world.clock())
    with pytest.raises(SignatureError):
        RotationStatement.verify(crossed.payload(key), ed25519)


def test_both_kinds_rotate_beside_each_other(world: Any) -> None:
    old_mldsa, new_mldsa = rotate(world)
    old, new = rotate(world, kind=LogKeyKind.ED25519)
    again, third = rotate(world)
    assert again == new_mldsa
    assert world.app.state.workplace.publisher.verifiers[0] == new
    everyone = {old, new, old_mldsa, new_mldsa, third}
    assert signers(world, *everyone) == everyone
    world.clock.advance(DAY.total_seconds())
    world.record("acme", Act.GRANT, ANN)
    assert signers(world, *everyone) == {new, third}
    create_app(world.settings, clock=world.clock).state.workplace.close()
    assert signers(world, *everyone) == {new, third}


def test_a_service_that_runs_meanwhile_signs_with_the_new_mldsa_key(world: Any) -> None:
    other = create_app(world.settings, clock=world.clock).state.workplace
    old, new = rotate(world, timedelta())
    with other.writing() as unit:
        unit.log("test", {})
    assert other.healthy
    assert signers(world, old, new) == {new}
    other.close()


@pytest.mark.parametrize("moment", ["LogKeyRow", "Path.replace"])
def test_a_crash_around_the_commit_leaves_keys_that_sign(
    world: Any, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(f"consent.service.rotation.{moment}", fail)
        with pytest.raises(ZeroDivisionError):
            rotate(world)
    work = create_app(world.settings, clock=world.clock).state.workplace
    assert len(mldsa_keys(work)) == 1 + len(statements(world))
    assert len(signers(world, *work.publisher.verifiers)) == len(work.publisher.verifiers)
    work.close()


def test_the_old_mldsa_key_can_be_destroyed_after_the_overlap_and_not_before(world: Any) -> None:
    old, _ = rotate(world)
    path = world.settings.data_dir / f"log-mldsa.{old.key_id.hex()}.key"
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


def test_a_log_without_such_a_key_has_none_to_rotate(consent_world: Any) -> None:
    with pytest.raises(InvalidRequestError, match="log_mldsa"):
        rotate_log_key(
            consent_world.app.state.workplace,
            consent_world.settings.data_dir,
            overlap=DAY,
            kind=LogKeyKind.MLDSA44,
        )
    assert not list(consent_world.settings.data_dir.glob("log-mldsa*"))


def test_the_command_rotates_the_mldsa_key(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONFIDE_CONSENT_DATA_DIR", str(world.settings.data_dir))
    monkeypatch.setenv("CONFIDE_CONSENT_DATABASE_URL", world.settings.url)
    monkeypatch.setenv("CONFIDE_CONSENT_LOG_MLDSA", "true")
    done = CliRunner().invoke(consent, ["rotate-key", "log-mldsa", "--overlap-days", "30"])
    assert done.exit_code == 0, done.stderr
    keys = [VerifierKey.parse(line) for line in (world.settings.log_dir / "vkey").read_text().splitlines()]
    assert [key.algorithm for key in keys][1:] == [MLDSA44, MLDSA44]
    assert keys[1].encode() in done.stdout
