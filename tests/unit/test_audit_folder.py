"""The published folder: what publishing costs, and that no change to it goes unseen."""

import json
import shutil
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pytest
from growing_log import KEY, ORIGIN, Log
from sqlalchemy.orm import Session
from typer.testing import CliRunner

from consent.commands import audit
from consent.contract import SigningKey
from consent.errors import ConsentError, LogInconsistentError, SetupError
from consent.log.commitments import Opening
from consent.log.note import Checkpoint, sign_checkpoint, verifier_key
from consent.log.store import append, entries
from consent.log.tiles import decode_bundle, encode_bundle
from consent.log.verify import verify_folder


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    log = Log(tmp_path)
    yield log
    log.database.close()


@pytest.fixture
def vkey(tmp_path: Path) -> Path:
    path = tmp_path / "trusted.vkey"
    path.write_text(verifier_key(ORIGIN, KEY).encode() + "\n")
    return path


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("sizes", [[0], [1], [255], [256], [257], [3, 253, 1], [100, 200, 300], [4096, 4096]])
def test_what_is_published_verifies(log: Log, vkey: Path, sizes: list[int]) -> None:
    for size in sizes:
        log.grow(size)
    report = verify_folder(log.folder, vkey=vkey)
    assert report.findings == []
    assert (report.size, report.openings, report.withheld) == (sum(sizes), sum(sizes), 0)


def test_publishing_in_steps_or_at_once_or_after_restarts_gives_the_same_files(log: Log) -> None:
    steps = [1, 200, 55, 1, 300, 256]
    log.append(sum(steps))
    log.publisher.publish()
    for restart in (False, True):
        replayed = _replay(log, steps, restart=restart)
        published = tree(log.folder)
        assert {name: replayed[name] for name in published} == published
        earlier = {name.partition(".p/")[0] for name in replayed.keys() - published.keys()}
        assert earlier == {"tile/1/000"}


def _replay(log: Log, steps: list[int], *, restart: bool) -> dict[str, bytes]:
    """Append what `log` holds to a second log, publishing after each step."""
    folder = log.root / f"replay-{restart}"
    folder.mkdir()
    copy = Log(folder)
    with log.database.reading() as session:
        stored = iter(
            [entry.opening for entry in entries(session, 0, sum(steps)) if isinstance(entry.opening, Opening)]
        )
    for step in steps:
        openings = list(islice(stored, step))
        salts = b"".join(opening.salt for opening in openings)
        with copy.database.writing() as session:
            append(session, [json.loads(opening.payload) for opening in openings], random_bytes=_given(salts))
        copy.publisher = copy.restart() if restart else copy.publisher
        copy.publisher.publish()
    copy.database.close()
    return tree(copy.folder)


def _given(salts: bytes) -> Callable[[int], bytes]:
    return lambda _: salts


def test_publishing_writes_what_is_new_and_nothing_else(log: Log) -> None:
    log.grow(1000)
    before = {path: path.stat().st_mtime_ns for path in log.folder.rglob("*") if path.is_file()}
    log.grow(1)
    touched = {
        str(path.relative_to(log.folder))
        for path in log.folder.rglob("*")
        if path.is_file() and before.get(path) != path.stat().st_mtime_ns
    }
    assert touched == {"checkpoint", "tile/0/003.p/233", "tile/entries/003.p/233", "openings/000000.ndjson"}


def test_every_byte_counts(log: Log, vkey: Path) -> None:
    log.grow(3)
    for name, content in tree(log.folder).items():
        for position in range(len(content)):
            changed = bytearray(content)
            changed[position] ^= 1 << (position % 8)
            (log.folder / name).write_bytes(changed)
            findings = verify_folder(log.folder, vkey=vkey).findings
            assert findings, f"{name}, byte {position}"
            assert name in {finding.file for finding in findings}
        (log.folder / name).write_bytes(content)
    assert verify_folder(log.folder, vkey=vkey).verified


def test_every_byte_counts_without_a_trusted_key(log: Log) -> None:
    log.grow(2)
    for name, content in tree(log.folder).items():
        for position in range(len(content)):
            changed = bytearray(content)
            changed[position] ^= 0x20
            (log.folder / name).write_bytes(changed)
            assert not verify_folder(log.folder).verified, f"{name}, byte {position}"
        (log.folder / name).write_bytes(content)


@pytest.mark.parametrize("entry", [0, 255, 256, 599])
def test_a_changed_entry_is_named(log: Log, vkey: Path, entry: int) -> None:
    log.grow(600)
    path = log.folder / ("tile/entries/002.p/88" if entry >= 512 else f"tile/entries/{entry // 256:03d}")
    entries = decode_bundle(path.read_bytes())
    entries[entry % 256] = bytes(33)
    path.write_bytes(encode_bundle(entries))
    findings = verify_folder(log.folder, vkey=vkey).findings
    assert [(finding.what, finding.entry) for finding in findings] == [
        ("root", None),
        ("entry", entry),
        ("opening", entry),
    ]


def _drop_entry(folder: Path) -> None:
    path = folder / "tile/entries/000"
    path.write_bytes(encode_bundle(decode_bundle(path.read_bytes())[1:]))


def _swap_entries(folder: Path) -> None:
    path = folder / "tile/entries/000"
    first, second, *rest = decode_bundle(path.read_bytes())
    path.write_bytes(encode_bundle([second, first, *rest]))


def _cut_tail(folder: Path) -> None:
    path = folder / "tile/entries/001.p/44"
    path.write_bytes(encode_bundle(decode_bundle(path.read_bytes())[:-1]))


def _remove_bundle(folder: Path) -> None:
    (folder / "tile/entries/001.p/44").unlink()


def _remove_tile(folder: Path) -> None:
    (folder / "tile/1/000.p/1").unlink()


def _remove_checkpoint(folder: Path) -> None:
    (folder / "checkpoint").unlink()


def _add_file(folder: Path) -> None:
    (folder / "tile/0/007").write_bytes(b"")


def _swap_openings(folder: Path) -> None:
    path = folder / "openings/000000.ndjson"
    first, second, *rest = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([second, first, *rest]))


def _forge_checkpoint(folder: Path) -> None:
    forged = sign_checkpoint(Checkpoint(ORIGIN, 300, bytes(32)), SigningKey.generate())
    (folder / "checkpoint").write_text(forged)


ATTACKS = {
    "drop an entry": (_drop_entry, "entries", "tile/entries/000"),
    "swap two entries": (_swap_entries, "entry", "tile/entries/000"),
    "cut the tail": (_cut_tail, "entries", "tile/entries/001.p/44"),
    "remove a bundle": (_remove_bundle, "entries", "tile/entries/001.p/44"),
    "remove a tile": (_remove_tile, "tile", "tile/1/000.p/1"),
    "remove the checkpoint": (_remove_checkpoint, "checkpoint", "checkpoint"),
    "add a file": (_add_file, "file", "tile/0/007"),
    "swap two openings": (_swap_openings, "opening", "openings/000000.ndjson"),
    "sign with another key": (_forge_checkpoint, "checkpoint", "checkpoint"),
}


@pytest.mark.parametrize(("attack", "what", "file"), ATTACKS.values(), ids=ATTACKS)
def test_attacks_are_named(log: Log, vkey: Path, attack: Callable[[Path], None], what: str, file: str) -> None:
    log.grow(300)
    attack(log.folder)
    findings = verify_folder(log.folder, vkey=vkey).findings
    assert (what, file) in {(finding.what, finding.file) for finding in findings}


def test_a_public_mirror_without_openings_verifies_and_says_what_is_withheld(log: Log, vkey: Path) -> None:
    log.grow(5)
    shutil.rmtree(log.folder / "openings")
    report = verify_folder(log.folder, vkey=vkey)
    assert (report.verified, report.openings, report.withheld) == (True, 0, 5)


@pytest.mark.parametrize(
    ("kept", "first", "why"),
    [(slice(0, 3), 3, "3 to 4"), (slice(1, 5), 0, "entry 0 is"), (slice(0, 4), 4, "entry 4 is")],
)
def test_openings_that_were_cut_out_of_a_copy_are_named(
    log: Log, vkey: Path, kept: slice, first: int, why: str
) -> None:
    log.grow(5)
    path = log.folder / "openings/000000.ndjson"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[kept]))
    findings = verify_folder(log.folder, vkey=vkey).findings
    assert [(finding.what, finding.entry) for finding in findings] == [("openings", first)]
    assert why in findings[0].why


def test_a_rollback_is_seen_with_a_kept_checkpoint(log: Log, vkey: Path, tmp_path: Path) -> None:
    log.grow(300)
    shutil.copytree(log.folder, tmp_path / "old")
    kept = tmp_path / "kept"
    kept.write_text(log.grow(10))
    assert verify_folder(tmp_path / "old", vkey=vkey).verified
    findings = verify_folder(tmp_path / "old", vkey=vkey, since=kept).findings
    assert [finding.what for finding in findings] == ["history"]


@pytest.mark.parametrize("size", [0, 1, 255, 256, 300])
def test_a_log_extends_its_own_past(log: Log, vkey: Path, tmp_path: Path, size: int) -> None:
    kept = tmp_path / "kept"
    kept.write_text(log.grow(size))
    log.grow(300)
    assert verify_folder(log.folder, vkey=vkey, since=kept).verified


def test_a_history_rewritten_by_the_keys_owner_is_seen(log: Log, vkey: Path, tmp_path: Path) -> None:
    log.grow(300)
    forked = tmp_path / "kept"
    forked.write_text(sign_checkpoint(Checkpoint(ORIGIN, 200, bytes(32)), KEY))
    findings = verify_folder(log.folder, vkey=vkey, since=forked).findings
    assert [finding.what for finding in findings] == ["history"]


def test_a_key_from_the_same_place_is_said_to_be(log: Log, vkey: Path) -> None:
    log.grow(1)
    assert verify_folder(log.folder).key_from_same_place
    assert any("not who signed" in line for line in verify_folder(log.folder).lines())
    assert not verify_folder(log.folder, vkey=vkey).key_from_same_place


def unguard(session: Session) -> None:
    """Take the triggers away, as who owns the database can."""
    for act in ("delete", "update"):
        for table in ("log_entries", "log_head"):
            session.connection().exec_driver_sql(f"DROP TRIGGER {table}_refuse_{act}")


def test_a_restored_database_does_not_start(log: Log) -> None:
    log.grow(10)
    with log.database.writing() as session:
        unguard(session)
        session.connection().exec_driver_sql("DELETE FROM log_entries WHERE log_index >= 5")
        session.connection().exec_driver_sql("UPDATE log_head SET size = 0, frontier = x''")
    with pytest.raises(LogInconsistentError, match="old copy"):
        log.restart()


def test_a_database_with_another_history_does_not_start(log: Log) -> None:
    log.grow(10)
    with log.database.writing() as session:
        unguard(session)
        session.connection().exec_driver_sql("DELETE FROM log_entries")
        session.connection().exec_driver_sql("UPDATE log_head SET size = 0, frontier = x''")
        append(session, [{"kind": "forged"}] * 12)
    with pytest.raises(LogInconsistentError, match="do not lead"):
        log.restart()


def test_a_published_log_that_was_changed_does_not_start(log: Log) -> None:
    log.grow(10)
    path = log.folder / "tile/0/000.p/10"
    path.write_bytes(bytes(320))
    with pytest.raises(LogInconsistentError):
        log.restart()


def test_files_ahead_of_the_checkpoint_are_written_again(log: Log, vkey: Path) -> None:
    """A crash after tiles and openings, before the checkpoint."""
    log.grow(250)
    checkpoint = (log.folder / "checkpoint").read_bytes()
    partials = {name: raw for name, raw in tree(log.folder).items() if ".p/" in name}
    log.grow(10)
    (log.folder / "checkpoint").write_bytes(checkpoint)
    for name, raw in partials.items():
        (log.folder / name).parent.mkdir(exist_ok=True)
        (log.folder / name).write_bytes(raw)
    with (log.folder / "openings/000000.ndjson").open("ab") as stream:
        stream.write(b'{"index":260,"pay')
    log.restart()
    report = verify_folder(log.folder, vkey=vkey)
    assert (report.findings, report.openings) == ([], 260)


def test_leftovers_of_a_crash_are_removed(log: Log, vkey: Path) -> None:
    log.grow(256)
    for name in ("tile/0/000.p/7", "tile/entries/000.p/7", "tile/.checkpoint.new"):
        (log.folder / name).parent.mkdir(exist_ok=True)
        (log.folder / name).write_bytes(b"torn")
    assert not verify_folder(log.folder, vkey=vkey).verified
    log.restart()
    assert verify_folder(log.folder, vkey=vkey).findings == []


def test_the_command_says_what_and_where(log: Log, vkey: Path, tmp_path: Path) -> None:
    log.grow(3)
    runner = CliRunner()
    verified = runner.invoke(audit, ["verify", str(log.folder), "--vkey", str(vkey)])
    assert (verified.exit_code, verified.stdout.splitlines()[-1]) == (0, "VERIFIED")
    _add_file(log.folder)
    report = tmp_path / "report.json"
    mismatch = runner.invoke(audit, ["verify", str(log.folder), "--json", str(report)])
    assert mismatch.exit_code == 1
    assert "MISMATCH file (tile/0/007)" in mismatch.stdout
    assert json.loads(report.read_text())["findings"][0]["file"] == "tile/0/007"


@pytest.mark.parametrize(
    "arguments",
    [["missing"], [".", "--vkey", "missing"], [".", "--since", "missing"], ["."], [".", "--vkey", "garbage"]],
)
def test_bad_input_is_one_sentence_and_exit_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "garbage").write_bytes(b"\xff\xfe")
    monkeypatch.chdir(tmp_path / "here")
    result = CliRunner().invoke(audit, ["verify", *arguments])
    assert result.exit_code == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert "Traceback" not in result.output


def test_no_folder_is_no_log(tmp_path: Path) -> None:
    with pytest.raises(SetupError):
        verify_folder(tmp_path / "missing")
    assert issubclass(SetupError, ConsentError)
