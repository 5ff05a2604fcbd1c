"""The log's keys of two kinds change hands beside each other, and neither stands in for the other."""

from collections.abc import Callable
from typing import Any

import pytest
from turning_keys import DAY, TurningKeys

from consent.contract import Act
from consent.errors import InvalidRequestError, SignatureError
from consent.log.note import open_checkpoint
from consent.log.signers import RotationStatement
from consent.service.keys import LogKeyKind
from consent.service.rotation import rotate_log_key

PURPOSE = "conversion"
ANN = "a" * 64


@pytest.fixture
def world(consent_worlds: Callable[..., Any], database_url: str) -> Any:
    world = consent_worlds(database_url=database_url, log_mldsa=True)
    world.declare(PURPOSE)
    return world


def test_a_key_of_one_kind_never_hands_over_to_the_other(world: Any) -> None:
    """A thief of the Ed25519 key can not replace the key that holds against quantum computers."""
    turning = TurningKeys(world, LogKeyKind.MLDSA44)
    (ed25519,), (mldsa,) = turning.beside, turning.of(world.app.state.workplace)
    key = LogKeyKind.ED25519.load((world.settings.data_dir / "log.key").read_bytes())
    crossed = RotationStatement(ed25519, mldsa, world.clock())
    with pytest.raises(SignatureError):
        RotationStatement.verify(crossed.payload(key), ed25519)


def test_both_kinds_rotate_beside_each_other(world: Any) -> None:
    mldsa, ed25519 = TurningKeys(world, LogKeyKind.MLDSA44), TurningKeys(world, LogKeyKind.ED25519)
    old_mldsa, new_mldsa = mldsa.rotate()
    old, new = ed25519.rotate()
    again, third = mldsa.rotate()
    assert again == new_mldsa
    assert world.app.state.workplace.publisher.verifiers[0] == new
    everyone = {old, new, old_mldsa, new_mldsa, third}
    assert mldsa.signers(*everyone) == everyone
    world.clock.advance(DAY.total_seconds())
    world.record("acme", Act.GRANT, ANN)
    assert mldsa.signers(*everyone) == {new, third}
    mldsa.start_another().close()
    assert mldsa.signers(*everyone) == {new, third}


def test_a_head_needs_a_key_of_each_kind(world: Any) -> None:
    turning = TurningKeys(world, LogKeyKind.MLDSA44)
    (ed25519,), (old, new) = turning.beside, turning.rotate()
    world.clock.advance(DAY.total_seconds())
    world.record("acme", Act.GRANT, ANN)
    assert turning.signers(ed25519, old, new) == {ed25519, new}
    with pytest.raises(SignatureError, match="each type"):
        open_checkpoint(turning.head(), ed25519, old)


def test_a_log_without_such_a_key_has_none_to_rotate(consent_world: Any) -> None:
    work, folder = consent_world.app.state.workplace, consent_world.settings.data_dir
    with pytest.raises(InvalidRequestError, match="log_mldsa"):
        rotate_log_key(work, folder, overlap=DAY, kind=LogKeyKind.MLDSA44)
    assert not list(folder.glob("log-mldsa*"))
