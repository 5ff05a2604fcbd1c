"""The payload key's rotation is killed after each chunk: every key opens, and the next run ends it."""

import secrets
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import rewrapping_child
from sqlalchemy import func, select

from consent.log.payloads import Subject, Vault, wrapping_key_id
from consent.log.store import entries, read_head
from consent.service import initialise
from consent.service.setup import open_workplace
from consent.settings import ConsentSettings
from consent.store.schema import SubjectKeyRow

pytestmark = pytest.mark.slow

CUSTOMERS = 10
CHUNKS = -(-CUSTOMERS // rewrapping_child.CHUNK)


def service(folder: Path) -> ConsentSettings:
    settings = ConsentSettings(data_dir=folder, publish_interval=0)
    initialise(settings)
    with closing(open_workplace(settings)) as work, work.writing() as unit:
        subjects = [Subject("acme", secrets.token_hex(32)) for _ in range(CUSTOMERS)]
        unit.log_all("test", [{"subject": one.pseudonym} for one in subjects], subjects=subjects)
    return settings


def rotate(folder: Path, *, kill_before: int = -1) -> int:
    command = [sys.executable, rewrapping_child.__file__, str(folder), str(kill_before)]
    return subprocess.run(command, check=False, timeout=120).returncode


def opens_all(settings: ConsentSettings) -> bool:
    with closing(open_workplace(settings)) as work, work.reading() as unit:
        stored = entries(unit.session, 0, read_head(unit.session).size)
        sealed = [one.opening for one in stored if getattr(one.opening, "key_id", None) is not None]
        return len(work.keys.vault.open_all(unit.session, sealed)) == CUSTOMERS  # type: ignore[arg-type]


def moved(settings: ConsentSettings) -> int:
    """Return how many customers' keys are under the key that wraps now."""
    current = Vault((settings.data_dir / "payload.key").read_bytes()).current()
    with closing(open_workplace(settings)) as work, work.reading() as unit:
        query = select(func.count()).select_from(SubjectKeyRow).where(SubjectKeyRow.wrapped_by == current)
        return unit.session.scalar(query) or 0


@pytest.mark.parametrize("chunk", range(CHUNKS + 1))
def test_a_kill_after_any_chunk_is_made_good_by_the_next_run(tmp_path: Path, chunk: int) -> None:
    settings = service(tmp_path / "consent")
    old = wrapping_key_id((settings.data_dir / "payload.key").read_bytes())
    assert rotate(settings.data_dir, kill_before=chunk) == -signal.SIGKILL
    assert moved(settings) == min(chunk * rewrapping_child.CHUNK, CUSTOMERS)
    assert (settings.data_dir / f"payload.{old}.key").exists()
    assert opens_all(settings)
    assert rotate(settings.data_dir) == 0
    assert moved(settings) == CUSTOMERS
    assert opens_all(settings)
    assert not list(settings.data_dir.glob("payload.*.key"))
