"""Whether the service is alive, and whether it can do its work: each part that can not is named."""

import shutil
from collections import namedtuple
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from consent.contract import Act
from consent.service.readiness import PATIENCE, State, Watch, state_of
from consent.service.work import Workplace
from consent.store import Database

PARTS = {"database", "log_folder", "publishing", "disk"}
Usage = namedtuple("Usage", "total used free")


def parts(world: Any, *, red: bool) -> dict[str, str]:
    response = world.http.get("/readyz")
    assert response.status_code == (503 if red else 200)
    assert response.json()["ready"] is not red
    assert world.http.get("/healthz").status_code == 200
    found: dict[str, str] = response.json()["parts"]
    return {name: state for name, state in found.items() if state != "ok"}


def test_a_service_that_works_is_ready(consent_world: Any) -> None:
    consent_world.record("acme", Act.WITHDRAW, "0" * 64)
    assert parts(consent_world, red=False) == {}
    assert set(consent_world.http.get("/readyz").json()["parts"]) == PARTS
    assert consent_world.http.get("/healthz").text == "ok\n"


def test_a_database_that_is_away_is_named(consent_world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> None:
        raise OperationalError("SELECT", None, OSError("gone"))

    monkeypatch.setattr(consent_world.app.state.workplace.database.engine, "connect", away)
    assert parts(consent_world, red=True)["database"] == "unreachable"


def test_a_folder_that_can_not_be_written_is_named(consent_world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise OSError(30, "read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr("consent.service.readiness.tempfile.TemporaryFile", refuse)
        assert parts(consent_world, red=True) == {"log_folder": "read_only", "database": "read_only"}
    folder: Path = consent_world.settings.log_dir
    folder.rename(folder.with_name("elsewhere"))
    assert parts(consent_world, red=True)["log_folder"] == "unreachable"


def test_a_disk_that_is_nearly_full_is_named(consent_worlds: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    world = consent_worlds(min_free_bytes=1_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10_000, 9_000, 1_000))
    assert parts(world, red=False) == {}
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10_000, 9_001, 999))
    assert parts(world, red=True) == {"disk": "nearly_full"}


def test_publishing_that_fails_is_named(consent_world: Any) -> None:
    checkpoint: Path = consent_world.settings.log_dir / "checkpoint"
    kept = checkpoint.read_bytes()
    checkpoint.unlink()
    consent_world.record("acme", Act.WITHDRAW, "0" * 64)
    assert parts(consent_world, red=True) == {"publishing": "stuck"}
    checkpoint.write_bytes(kept)
    consent_world.record("acme", Act.WITHDRAW, "0" * 64)
    assert parts(consent_world, red=False) == {}


class Seconds:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_entries_that_another_process_never_publishes_are_noticed(
    consent_world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A head that moves is not stuck, however far it is behind."""
    work: Workplace = consent_world.app.state.workplace
    seconds = Seconds()
    watch = Watch(work, min_free_bytes=0, seconds=seconds)

    def state() -> State:
        return watch.readiness().parts["publishing"]

    with monkeypatch.context() as patch:
        patch.setattr(work._publishing, "appended", lambda: None)
        consent_world.record("acme", Act.WITHDRAW, "0" * 64)
        assert state() is State.OK
        seconds.now = PATIENCE
        assert state() is State.OK
        seconds.now += 1
        assert state() is State.STUCK
        work.publish_now()
        assert state() is State.OK
        consent_world.record("acme", Act.WITHDRAW, "1" * 64)
        assert state() is State.OK
        seconds.now += PATIENCE / 2
        work.publish_now()
        consent_world.record("acme", Act.WITHDRAW, "2" * 64)
        seconds.now += PATIENCE / 2 + 1
        assert state() is State.OK


def test_a_database_that_takes_no_writes_is_named(postgres_url: Callable[[], str]) -> None:
    """A PostgreSQL replica, or a primary that was told so."""
    url = postgres_url()
    read_only = f"{url}{'&' if '?' in url else '?'}options=-cdefault_transaction_read_only%3Don"
    for address, state in ((url, State.OK), (read_only, State.READ_ONLY)):
        with closing(Database.connect(address)) as database:
            assert state_of(database) is state
