"""`confide audit proof`, `check-proof`, `export`, and the proofs that the service hands out."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_log import KEY, ORIGIN, entries, write_log
from typer.testing import CliRunner

from consent.commands import audit, witness
from consent.contract import SigningKey
from consent.log import merkle
from consent.log.commitments import Opening, commit
from consent.log.note import Note, parse_keys, verifier_key
from consent.log.proof import EntryProof


def run(command: Any, *arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(command, list(map(str, arguments)))
    assert "Traceback" not in result.output
    return result.exit_code, result.output


@pytest.fixture
def vkey(tmp_path: Path) -> Path:
    path = tmp_path / "trusted.vkey"
    path.write_text(verifier_key(ORIGIN, KEY).encode() + "\n")
    return path


def test_a_proof_is_written_and_checked_offline(tmp_path: Path, vkey: Path) -> None:
    folder, out = write_log(tmp_path / "log", 300), tmp_path / "entry.tlog-proof"
    assert run(audit, "proof", folder, 257, "--out", out)[0] == 0
    code, output = run(audit, "check-proof", out, "--vkey", vkey)
    assert (code, f"entry 257 is in log {ORIGIN} of 300 entries" in output, "VERIFIED" in output) == (
        0,
        True,
        True,
    )
    opening = tmp_path / "opening"
    opening.write_bytes(Opening(257, b"", b'{"number":257}').line() + b"\n")
    assert run(audit, "check-proof", out, "--vkey", vkey, "--opening", opening)[0] == 1
    other = tmp_path / "other.vkey"
    other.write_text(verifier_key(ORIGIN, SigningKey.generate()).encode())
    assert run(audit, "check-proof", out, "--vkey", other)[0] == 1
    policy = tmp_path / "policy"
    policy.write_text(f"log {verifier_key(ORIGIN, KEY).encode()}\nquorum none\n")
    assert run(audit, "check-proof", out, "--policy", policy)[0] == 0
    out.write_text(out.read_text().replace("index 257", "index 256"))
    code, output = run(audit, "check-proof", out, "--vkey", vkey)
    assert (code, "NOT VERIFIED" in output) == (1, True)


def test_an_opening_is_checked_with_its_proof(tmp_path: Path, vkey: Path) -> None:
    salt = bytes(16)
    folder, out, opening = tmp_path / "log", tmp_path / "p", tmp_path / "o"
    write_log(folder, 3, salt)
    assert entries(3, salt)[1] == commit(salt, b'{"number":1}')
    run(audit, "proof", folder, 1, "--out", out)
    opening.write_bytes(Opening(1, salt, b'{"number":1}').line() + b"\n")
    code, output = run(audit, "check-proof", out, "--vkey", vkey, "--opening", opening)
    assert (code, "the opening is what the entry commits to" in output) == (0, True)
    opening.write_bytes(Opening(1, salt, b'{"number":2}').line() + b"\n")
    assert run(audit, "check-proof", out, "--vkey", vkey, "--opening", opening)[0] == 1


def test_bad_input_is_one_sentence(tmp_path: Path, vkey: Path) -> None:
    folder = write_log(tmp_path / "log", 3)
    out = tmp_path / "p"
    assert run(audit, "proof", folder, 3, "--out", out)[0] == 2
    assert run(audit, "proof", tmp_path / "missing", 0, "--out", out)[0] == 2
    assert run(audit, "check-proof", out, "--vkey", vkey)[0] == 2
    run(audit, "proof", folder, 0, "--out", out)
    assert run(audit, "check-proof", out)[0] == 2
    assert run(audit, "export", tmp_path, "--out", out)[0] == 2


def test_an_export_holds_every_entry_with_its_proof_and_what_may_be_seen(
    tmp_path: Path, consent_world: Any
) -> None:
    world = consent_world
    out = tmp_path / "export.ndjson"
    code, output = run(audit, "export", world.settings.log_dir, "--out", out)
    first, *lines = [json.loads(line) for line in out.read_text().splitlines()]
    head = Note.parse(first["checkpoint"]).checkpoint
    assert (code, f"Wrote {head.size} entries" in output, len(lines)) == (0, True, head.size)
    for number, line in enumerate(lines):
        entry = base64.b64decode(line["entry"])
        proof = EntryProof(number, tuple(base64.b64decode(node) for node in line["proof"]), "")
        assert proof.verify(head, entry) == entry
        if "payload" in line["opening"]:
            raw = json.dumps(line["opening"], ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
            assert Opening.parse(raw).opens(entry)
    assert any("payload" in line["opening"] for line in lines)


def test_a_mirrors_export_has_no_openings(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(audit, "export", write_log(tmp_path / "log", 300), "--out", out)
    lines = [json.loads(line) for line in out.read_text().splitlines()[1:]]
    assert [line["index"] for line in lines] == list(range(300))
    assert {line["opening"] for line in lines} == {None}


def test_the_service_hands_out_proofs_under_its_present_head(consent_world: Any) -> None:
    world = consent_world
    keys = parse_keys(world.http.get("/v1/log/vkey").text)
    size = Note.parse(world.http.get("/v1/log/checkpoint").text).checkpoint.size
    for index in range(size):
        response = world.http.get(f"/v1/log/proofs/{index}")
        proof = EntryProof.parse(response.text)
        assert response.headers["content-type"].startswith("text/plain")
        note = Note.parse(proof.note)
        assert note.signers(keys)
        proof.verify(note.checkpoint)
    for path in (f"proofs/{size}", "proofs/99999999999999999999", f"consistency/1/{size + 1}", "consistency/2/1"):
        assert world.http.get(f"/v1/log/{path}").status_code == 404, path
    for path in ("proofs/-1", "proofs/x", "consistency/x/1"):
        assert world.http.get(f"/v1/log/{path}").status_code == 422, path


def test_row_25_consistency_is_proven_between_the_two_sizes_that_were_asked_for(
    consent_worlds: Callable[..., Any],
) -> None:
    world = consent_worlds()
    notes = []
    for number in range(6):
        world.declare(f"purpose{number}")
        notes.append(Note.parse(world.http.get("/v1/log/checkpoint").text).checkpoint)
    for old in notes:
        for new in notes:
            if 0 < old.size <= new.size:
                view = world.http.get(f"/v1/log/consistency/{old.size}/{new.size}").json()
                assert (view["old_size"], view["new_size"]) == (old.size, new.size)
                assert Note.parse(view["checkpoint"]).checkpoint == notes[-1]
                merkle.verify_consistency(
                    old_size=old.size,
                    old_root=old.root,
                    new_size=new.size,
                    new_root=new.root,
                    proof=[base64.b64decode(node) for node in view["hashes"]],
                )


def test_witness_init_prints_the_key_to_hand_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONFIDE_WITNESS_DATA_DIR", str(tmp_path / "w"))
    monkeypatch.setenv("CONFIDE_WITNESS_NAME", "w.example")
    code, output = run(witness, "init")
    assert (code, parse_keys(output)[0].name) == (0, "w.example")
    assert run(witness, "init") == (code, output)
    code, output = run(witness, "serve")
    assert (code, "knows no log" in output) == (2, True)
    monkeypatch.setenv("CONFIDE_WITNESS_PORT", "0")
    code, output = run(witness, "serve")
    assert (code, "witness's settings" in output) == (2, True)
