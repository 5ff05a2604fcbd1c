"""What an officer exported, checked offline, and what is erased in it against what erasures account for."""

import json
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_log import KEY, ORIGIN, write_log
from typer.testing import CliRunner

from consent.commands import audit
from consent.contract import Act, SigningKey
from consent.log import export as export_module
from consent.log import verify as verify_module
from consent.log.erasures import erased_by
from consent.log.note import verifier_key
from consent.log.remote import FolderSource, Source, open_source
from consent.log.verify import verify_folder

ANN, BOB = secrets.token_hex(32), secrets.token_hex(32)


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(audit, list(map(str, arguments)))
    assert "Traceback" not in result.output
    return result.exit_code, result.output


@pytest.fixture
def world(consent_worlds: Callable[..., Any], database_url: str) -> Any:
    world = consent_worlds(database_url=database_url)
    world.declare("conversion")
    for subject in (ANN, BOB):
        world.record("acme", Act.GRANT, subject)
    return world


@pytest.fixture
def exported(world: Any, tmp_path: Path) -> Path:
    """An export that was made after an erasure."""
    world.erase("acme", ANN)
    out = tmp_path / "export.ndjson"
    assert run("export", world.settings.log_dir, "--out", out)[0] == 0
    return out


def vkey(world: Any) -> Path:
    path: Path = world.settings.log_dir / "vkey"
    return path


def check(world: Any, out: Path, *options: object) -> tuple[int, str]:
    return run("check-export", out, "--vkey", vkey(world), *options)


def lines_of(out: Path) -> list[Any]:
    return [json.loads(line) for line in out.read_text().splitlines()]


def write(out: Path, lines: list[Any]) -> None:
    text = "".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines)
    out.write_text(text)


def test_an_export_after_an_erasure_verifies_with_and_without_the_log(
    world: Any, exported: Path, tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    code, output = check(world, exported, "--json", report)
    fields = json.loads(report.read_text())
    assert (code, output.splitlines()[-1], fields["verified"]) == (0, "VERIFIED", True)
    assert (fields["erased"], fields["accounted"], fields["sealed"], fields["withheld"]) == (1, 1, 1, 0)
    assert fields["openings"] == fields["size"] - 2
    world.declare("churn")
    code, output = check(world, exported, "--log", world.settings.log_dir)
    assert (code, f"extends the earlier checkpoint of {fields['size']}" in output) == (0, True)
    assert exported.stat().st_mode & 0o777 == 0o600


def test_a_line_that_was_blanked_is_one_more_than_erasures_account_for(world: Any, exported: Path) -> None:
    head, *lines = lines_of(exported)
    sealed = next(line for line in lines if "sealed" in line["opening"])
    sealed["opening"] = {"erased": True, "index": sealed["index"]}
    write(exported, [head, *lines])
    code, output = check(world, exported)
    assert (code, "MISMATCH erasure (the export): 2 openings" in output, "account for 1;" in output) == (
        1,
        True,
        True,
    )


def test_an_erasure_that_is_not_in_the_head_accounts_for_nothing(world: Any, exported: Path) -> None:
    """A forged entry about an erasure does not open its entry, and so does not raise the sum."""
    head, *lines = lines_of(exported)
    lines[-1]["opening"]["payload"]["destroyed"]["entries"] = 9
    write(exported, [head, *lines])
    code, output = check(world, exported)
    assert (code, "it is not what the entry commits to" in output, "account for 0;" in output) == (1, True, True)


def _swap_proof(lines: list[Any]) -> None:
    lines[1]["proof"] = lines[2]["proof"]


def _swap_openings(lines: list[Any]) -> None:
    lines[1]["opening"], lines[2]["opening"] = lines[2]["opening"], lines[1]["opening"]


def _change_payload(lines: list[Any]) -> None:
    lines[1]["opening"]["payload"]["kind"] = "other"


def _unknown_opening(lines: list[Any]) -> None:
    lines[1]["opening"] = {"number": 2**60}


def _drop_line(lines: list[Any]) -> None:
    del lines[1]


def _drop_last(lines: list[Any]) -> None:
    del lines[-1]


def _repeat_line(lines: list[Any]) -> None:
    lines.insert(2, lines[1])


def _change_entry(lines: list[Any]) -> None:
    lines[1]["entry"] = lines[2]["entry"]


def _add_field(lines: list[Any]) -> None:
    lines[1]["note"] = ""


def _change_head(lines: list[Any]) -> None:
    lines[0]["checkpoint"] = lines[0]["checkpoint"].replace("\n", "\n1", 1)


def _no_head(lines: list[Any]) -> None:
    del lines[0]


CHANGES = {
    "another proof": (_swap_proof, "MISMATCH proof (line 2, entry 0)"),
    "swapped openings": (_swap_openings, "MISMATCH opening (line 2, entry 0)"),
    "another payload": (_change_payload, "MISMATCH opening (line 2, entry 0)"),
    "no opening": (_unknown_opening, "MISMATCH opening (line 2, entry 0)"),
    "another entry": (_change_entry, "MISMATCH proof (line 2, entry 0)"),
    "first line gone": (_drop_line, "MISMATCH line (line 2, entry 0): entry 0 is missing"),
    "last line gone": (_drop_last, "is missing before it"),
    "a line twice": (_repeat_line, "MISMATCH line (line 3, entry 0): it is out of order"),
    "more in a line": (_add_field, "MISMATCH line (line 2)"),
    "another head": (_change_head, "MISMATCH checkpoint (line 1)"),
    "no head": (_no_head, "MISMATCH checkpoint (line 1)"),
}


@pytest.mark.parametrize(("change", "finding"), CHANGES.values(), ids=CHANGES)
def test_a_changed_export_is_named(
    consent_world: Any, tmp_path: Path, change: Callable[[list[Any]], None], finding: str
) -> None:
    out = tmp_path / "export.ndjson"
    run("export", consent_world.settings.log_dir, "--out", out)
    lines = lines_of(out)
    change(lines)
    write(out, lines)
    code, output = check(consent_world, out)
    assert (code, finding in output) == (1, True), output
    assert output.splitlines()[-1].startswith("NOT VERIFIED")


def test_an_export_that_breaks_off_is_named(consent_world: Any, tmp_path: Path) -> None:
    out = tmp_path / "export.ndjson"
    run("export", consent_world.settings.log_dir, "--out", out)
    whole = out.read_bytes()
    for cut, why in ((1, "it breaks off"), (9, "it is not a line with")):
        out.write_bytes(whole[:-cut])
        code, output = check(consent_world, out)
        assert (code, why in output) == (1, True)


def test_an_export_of_another_history_than_the_published_log_is_named(tmp_path: Path) -> None:
    out, trusted = tmp_path / "export.ndjson", tmp_path / "trusted.vkey"
    trusted.write_text(verifier_key(ORIGIN, KEY).encode() + "\n")
    run("export", write_log(tmp_path / "ours", 300, salt=b"one"), "--out", out)
    for name, size, salt, code in (("same", 300, b"one", 0), ("longer", 700, b"one", 0), ("fork", 700, b"two", 1)):
        log = write_log(tmp_path / name, size, salt=salt)
        found, output = run("check-export", out, "--vkey", trusted, "--log", log)
        assert (found, "MISMATCH history" in output) == (code, code == 1)
    rolled_back = write_log(tmp_path / "short", 200, salt=b"one")
    assert run("check-export", out, "--vkey", trusted, "--log", rolled_back)[0] == 1


def test_an_export_needs_somebody_to_trust_and_a_file(tmp_path: Path) -> None:
    out, stranger = tmp_path / "export.ndjson", tmp_path / "stranger.vkey"
    run("export", write_log(tmp_path / "log", 3), "--out", out)
    stranger.write_text(verifier_key(ORIGIN, SigningKey.generate()).encode() + "\n")
    assert run("check-export", out)[0] == 2
    assert run("check-export", tmp_path / "missing", "--vkey", stranger)[0] == 2
    assert run("check-export", out, "--vkey", stranger)[0] == 1


def test_an_export_that_fails_leaves_no_file_and_not_the_old_one_changed(tmp_path: Path) -> None:
    folder, out = write_log(tmp_path / "log", 300), tmp_path / "out" / "export.ndjson"
    out.parent.mkdir()
    (folder / "tile/entries/001.p/44").unlink()
    assert run("export", folder, "--out", out)[0] == 2
    assert list(out.parent.iterdir()) == []
    out.write_text("earlier")
    assert run("export", folder, "--out", out)[0] == 2
    assert [(path.name, path.read_text()) for path in out.parent.iterdir()] == [(out.name, "earlier")]


def test_an_erasure_while_a_log_is_exported_makes_no_export_that_looks_changed(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The openings are rewritten after the head was read, and before they are."""

    def open_and_erase(folder: Path) -> FolderSource:
        source = FolderSource(folder)
        del vars(source)["_changing"]["openings/000000.ndjson"]
        world.erase("acme", ANN)
        return source

    out = tmp_path / "export.ndjson"
    with monkeypatch.context() as patch:
        patch.setattr(export_module, "FolderSource", open_and_erase)
        code, output = run("export", world.settings.log_dir, "--out", out)
    assert (code, "export it again" in output, out.exists()) == (2, True, False)
    assert run("export", world.settings.log_dir, "--out", out)[0] == 0
    assert check(world, out)[0] == 0


def test_more_erased_lines_in_a_folder_than_erasures_account_for_are_a_finding(world: Any, tmp_path: Path) -> None:
    world.erase("acme", ANN)
    report = verify_folder(world.settings.log_dir)
    assert (report.findings, report.erased, report.accounted) == ([], 1, 1)
    shutil.copytree(world.settings.log_dir, tmp_path / "copy")
    path = tmp_path / "copy" / "openings" / "000000.ndjson"
    lines = path.read_bytes().splitlines()
    blanked = next(index for index, line in enumerate(lines) if b'"sealed":' in line)
    lines[blanked] = b'{"erased":true,"index":%d}' % blanked
    path.write_bytes(b"\n".join([*lines, b""]))
    report = verify_folder(tmp_path / "copy")
    assert [(one.what, one.file) for one in report.findings] == [("erasure", "openings")]


def test_an_erasure_while_a_folder_is_read_is_no_finding(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The openings are rewritten after the head was read, and before they are."""
    opened: list[Source] = []

    def open_and_erase(place: str) -> Source:
        opened.append(open_source(place))
        if len(opened) == 1:
            del vars(opened[0])["_changing"]["openings/000000.ndjson"]
            world.erase("acme", ANN)
        return opened[-1]

    monkeypatch.setattr(verify_module, "open_source", open_and_erase)
    report = verify_folder(world.settings.log_dir)
    assert (report.findings, report.erased, len(opened)) == ([], 1, 2)


@pytest.mark.parametrize(
    ("payload", "count"),
    [
        ({"kind": "subject_erased", "destroyed": {"entries": 3}}, 3),
        ({"kind": "subject_erased", "destroyed": {"entries": -3}}, 0),
        ({"kind": "subject_erased", "destroyed": {"entries": True}}, 0),
        ({"kind": "subject_erased", "destroyed": 3}, 0),
        ({"kind": "other", "destroyed": {"entries": 3}, "nested": {"kind": "subject_erased"}}, 0),
        ({"kind": "other"}, 0),
    ],
)
def test_what_an_entry_says_was_erased(payload: dict[str, object], count: int) -> None:
    line = json.dumps({"index": 0, "payload": payload, "salt": "00" * 16}, separators=(",", ":")).encode()
    assert erased_by(line) == count
