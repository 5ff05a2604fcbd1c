"""The payload key changes: every customer's key moves to the new one, whatever cuts the rotation short."""

import json
import secrets
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from consent.commands import consent
from consent.contract import Act
from consent.errors import LogInconsistentError, SetupError
from consent.log.commitments import Opening, SealedOpening
from consent.log.payloads import Vault, wrapping_key_id
from consent.log.store import entries, read_head
from consent.log.verify import verify_folder
from consent.service import create_app, rewrapping
from consent.service.rewrapping import Rewrapping, rotate_payload_key
from consent.service.setup import open_workplace
from consent.store.schema import SubjectKeyRow

PURPOSE = "conversion"
ANN, BOB = "a" * 64, "b" * 64
CUSTOMERS = [secrets.token_hex(32) for _ in range(7)]


@pytest.fixture
def world(consent_worlds: Callable[..., Any], database_url: str) -> Any:
    world = consent_worlds(database_url=database_url)
    world.declare(PURPOSE)
    world.record("acme", Act.GRANT, *CUSTOMERS)
    return world


def payload_key(world: Any) -> bytes:
    return bytes((world.settings.data_dir / "payload.key").read_bytes())


def rotate(world: Any, chunk: int = 2) -> Rewrapping:
    """Rotate in another service than the one that runs, as the command does."""
    with closing(open_workplace(world.settings, clock=world.clock)) as work:
        return rotate_payload_key(work, world.settings.data_dir, chunk=chunk)


def sealed(work: Any) -> list[SealedOpening]:
    with work.reading() as unit:
        stored = entries(unit.session, 0, read_head(unit.session).size)
        return [one.opening for one in stored if isinstance(one.opening, SealedOpening)]


def opened(work: Any, vault: Vault) -> set[str]:
    """Return the customers whose entries open."""
    with work.reading() as unit:
        found = vault.open_all(unit.session, sealed(work))
    return {json.loads(one.payload)["subject"] for one in found}


def rows(work: Any) -> list[SubjectKeyRow]:
    with work.reading() as unit:
        return list(unit.session.scalars(select(SubjectKeyRow).order_by(SubjectKeyRow.key_id)))


def rotations(work: Any) -> list[dict[str, Any]]:
    with work.reading() as unit:
        stored = entries(unit.session, 0, read_head(unit.session).size)
        payloads = [json.loads(one.opening.payload) for one in stored if isinstance(one.opening, Opening)]
    return [payload for payload in payloads if payload["kind"] == "payload_key_rotated"]


def key_files(world: Any) -> set[str]:
    return {path.name for path in world.settings.data_dir.glob("*payload*")}


def test_every_customer_moves_to_the_new_key_and_the_old_one_opens_nothing(world: Any) -> None:
    work, old = world.app.state.workplace, payload_key(world)
    before = rows(work)
    assert rotate(world) == Rewrapping(len(CUSTOMERS), scrubbed=True)
    new = payload_key(world)
    assert new != old
    assert {row.wrapped_by for row in rows(work)} == {wrapping_key_id(new)}
    assert opened(work, Vault(new)) == set(CUSTOMERS)
    for opening in sealed(work):
        with work.reading() as unit, pytest.raises(LogInconsistentError, match="payload key"):
            Vault(old).open(unit.session, opening)
    assert key_files(world) == {"payload.key"}
    assert stat.S_IMODE((world.settings.data_dir / "payload.key").stat().st_mode) == 0o600
    (entry,) = rotations(work)
    assert (entry["old"], entry["new"], entry["customers"]) == (
        [wrapping_key_id(old)],
        wrapping_key_id(new),
        len(CUSTOMERS),
    )
    assert [row.key_id for row in rows(work)] == [row.key_id for row in before]
    assert verify_folder(world.settings.log_dir).findings == []


def test_no_file_of_the_database_holds_what_the_old_key_wrapped(world: Any) -> None:
    wrapped = [row.wrapped for row in rows(world.app.state.workplace)]
    rotate(world)
    url = world.settings.url
    if url.startswith("sqlite"):
        database = Path(url.removeprefix("sqlite:///"))
        content = b"".join(path.read_bytes() for path in database.parent.glob(database.name + "*"))
        assert not [one for one in wrapped if one in content]


def test_a_service_that_runs_meanwhile_follows(world: Any) -> None:
    """It reads and writes between any two chunks, also for customers who are new."""
    running = world.app.state.workplace
    step = Vault.rewrap

    def between(vault: Vault, *args: Any, **named: Any) -> int | None:
        assert opened(running, running.keys.vault) >= set(CUSTOMERS)
        return step(vault, *args, **named)

    with closing(open_workplace(world.settings, clock=world.clock)) as work, pytest.MonkeyPatch.context() as patch:
        patch.setattr(Vault, "rewrap", between)
        rewrapping._take_over(work, world.settings.data_dir)
        world.record("acme", Act.GRANT, ANN)
        rotate_payload_key(work, world.settings.data_dir, chunk=2)
    world.record("acme", Act.GRANT, BOB)
    new = wrapping_key_id(payload_key(world))
    assert {row.wrapped_by for row in rows(running)} == {new}
    assert opened(running, running.keys.vault) == {*CUSTOMERS, ANN, BOB}
    create_app(world.settings, clock=world.clock).state.workplace.close()


class Killed(BaseException):
    """The process ends here."""


def killing(target: Any, name: str, at: int, *, after: bool) -> Callable[[pytest.MonkeyPatch], None]:
    """Return what makes a call, the one numbered `at`, the last thing that is done."""

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        original, calls = getattr(target, name), [0]

        def call(*args: Any, **named: Any) -> Any:
            calls[0] += 1
            if calls[0] > at and not after:
                raise Killed
            done = original(*args, **named)
            if calls[0] > at:
                raise Killed
            return done

        monkeypatch.setattr(target, name, call)

    return patch


AT_THE_END = "after the old key was destroyed"
MOMENTS = {
    "before anything is written": killing(rewrapping, "write_private", 0, after=False),
    "with the new key beside the old one": killing(rewrapping, "write_private", 0, after=True),
    "with a copy of the old key": killing(rewrapping, "write_private", 1, after=True),
    "before the new key takes over": killing(rewrapping, "sync_folders", 0, after=True),
    "as the new key took over": killing(rewrapping, "sync_folders", 1, after=True),
    **{f"after chunk {number}": killing(Vault, "rewrap", number, after=False) for number in range(5)},
    **{f"within chunk {number}": killing(Vault, "rewrap", number, after=True) for number in range(4)},
    "before the entry": killing(rewrapping, "request_scrub", 0, after=False),
    "with the entry not committed": killing(rewrapping, "request_scrub", 0, after=True),
    "before the database is scrubbed": killing(rewrapping, "scrub_database", 0, after=False),
    "before the old key is destroyed": killing(rewrapping, "scrub_database", 0, after=True),
    AT_THE_END: killing(rewrapping, "sync_folders", 2, after=False),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_whatever_cuts_it_short_every_key_opens_and_the_next_run_ends_it(world: Any, moment: str) -> None:
    old, work = payload_key(world), world.app.state.workplace
    with pytest.MonkeyPatch.context() as patch:
        MOMENTS[moment](patch)
        with pytest.raises(Killed):
            rotate(world)
    left = payload_key(world)
    assert opened(work, work.keys.vault) == set(CUSTOMERS)
    with closing(open_workplace(world.settings, clock=world.clock)) as again:
        assert opened(again, again.keys.vault) == set(CUSTOMERS)
    world.record("acme", Act.GRANT, ANN)
    assert rotate(world) == Rewrapping(len(CUSTOMERS) + 1, scrubbed=True)
    assert (payload_key(world) == left) == (left != old and moment != AT_THE_END)
    assert key_files(world) == {"payload.key"}
    assert opened(work, Vault(payload_key(world))) == {*CUSTOMERS, ANN}
    with pytest.raises(LogInconsistentError):
        opened(work, Vault(old))
    assert rotations(work)


def test_a_key_that_opens_under_neither_stops_it_with_both_files_kept(world: Any) -> None:
    work = world.app.state.workplace
    with work.database.writing() as session:
        (row, *_) = session.scalars(select(SubjectKeyRow).order_by(SubjectKeyRow.key_id.desc()))
        row.wrapped = bytes(60)
    with pytest.raises(LogInconsistentError, match="payload key"):
        rotate(world)
    assert len(key_files(world)) == 2
    assert rotations(work) == []


def test_somebody_who_wraps_under_another_key_is_noticed(world: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Vault, "rewrap", lambda *_, **__: None)
        with pytest.raises(SetupError, match="another service"):
            rotate(world)
    assert len(key_files(world)) == 2
    assert rotations(world.app.state.workplace) == []


def test_an_erasure_between_two_chunks_stays_one(world: Any) -> None:
    step = Vault.rewrap

    def erase_first(vault: Vault, session: Any, **named: Any) -> int | None:
        if named["after"] == -1:
            session.delete(session.scalars(select(SubjectKeyRow).order_by(SubjectKeyRow.key_id)).first())
            session.flush()
        return step(vault, session, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Vault, "rewrap", erase_first)
        assert rotate(world).customers == len(CUSTOMERS) - 1
    assert len(rows(world.app.state.workplace)) == len(CUSTOMERS) - 1


def test_the_command_rotates_the_payload_key(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONFIDE_CONSENT_DATA_DIR", str(world.settings.data_dir))
    monkeypatch.setenv("CONFIDE_CONSENT_DATABASE_URL", world.settings.url)
    old = payload_key(world)
    done = CliRunner().invoke(consent, ["rotate-key", "payload"])
    assert done.exit_code == 0, done.stderr
    assert str(len(CUSTOMERS)) in done.stdout
    assert payload_key(world) != old
    assert payload_key(world).hex() not in done.output
