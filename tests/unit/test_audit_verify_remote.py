"""Verification over HTTP, with policies, and of what a server may try."""

import json
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import httpx
import pytest
from small_log import KEY, ORIGIN, write_log
from typer.testing import CliRunner

from consent.commands import audit
from consent.contract import SigningKey
from consent.errors import UnavailableError
from consent.log.commitments import Opening, SealedOpening, commit
from consent.log.contents import is_sealed, opens_quickly, read_tile
from consent.log.note import COSIGNATURE, Checkpoint, cosign, sign_checkpoint, verifier_key
from consent.log.policy import Policy
from consent.log.remote import HttpSource
from consent.log.tiles import decode_bundle, encode_bundle
from consent.log.verify import Trust, verify_log

WITNESS = SigningKey.generate()
W_VKEY = verifier_key("w.example", WITNESS, COSIGNATURE)
TRUST = Trust(keys=(verifier_key(ORIGIN, KEY),))


def served(files: Mapping[str, bytes], seen: list[httpx.Request] | None = None) -> HttpSource:
    def answer(request: httpx.Request) -> httpx.Response:
        if seen is not None:
            seen.append(request)
        content = files.get(request.url.path.removeprefix("/log/"))
        return httpx.Response(404) if content is None else httpx.Response(200, content=content)

    return source(answer)


def source(answer: Callable[[httpx.Request], httpx.Response]) -> HttpSource:
    return HttpSource("http://log.example/log", httpx.Client(transport=httpx.MockTransport(answer)))


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("size", [0, 1, 256, 700])
def test_a_served_log_verifies_by_static_gets_alone(tmp_path: Path, size: int) -> None:
    seen: list[httpx.Request] = []
    report = verify_log(served(files_of(write_log(tmp_path, size)), seen), trust=TRUST)
    assert (report.findings, report.size, report.withheld) == ([], size, size)
    assert {request.method for request in seen} == {"GET"}
    assert not any(request.url.query for request in seen)


def test_a_served_log_is_checked_file_by_file(tmp_path: Path) -> None:
    files = files_of(write_log(tmp_path, 300))
    for name in files:
        if name.startswith(("tile/", "checkpoint")):
            changed = {**files, name: files[name][:-9] + bytes([files[name][-9] ^ 1]) + files[name][-8:]}
            findings = verify_log(served(changed), trust=TRUST).findings
            assert name in {finding.file for finding in findings}, name
            missing = {other: raw for other, raw in files.items() if other != name}
            assert not verify_log(served(missing), trust=TRUST).verified, name


def test_a_partial_tile_that_was_completed_is_read_from_the_full_one(tmp_path: Path) -> None:
    files = files_of(write_log(tmp_path / "later", 600))
    earlier = files_of(write_log(tmp_path / "earlier", 300))
    files["checkpoint"] = earlier["checkpoint"]
    files["tile/1/000.p/1"] = earlier["tile/1/000.p/1"]
    assert verify_log(served(files), trust=TRUST).verified
    assert read_tile(served(files), "entries", 1, 44) == earlier["tile/entries/001.p/44"]


def _moved(target: str, _: httpx.Request) -> httpx.Response:
    return httpx.Response(302, headers={"location": target})


def test_a_redirect_stays_on_its_host() -> None:
    def same(request: httpx.Request) -> httpx.Response:
        moved = request.url.path.startswith("/log/")
        return httpx.Response(302, headers={"location": "/new"}) if moved else httpx.Response(200, content=b"x")

    assert source(same).read("checkpoint") == b"x"
    for target in ("http://other.example/x", "https://log.example/x", "http://log.example:81/x"):
        away = source(partial(_moved, target))
        with pytest.raises(UnavailableError, match="another host"):
            away.read("checkpoint")
    with pytest.raises(UnavailableError, match="over and over"):
        source(lambda _: httpx.Response(302, headers={"location": "/log/checkpoint"})).read("checkpoint")


def test_an_answer_without_end_is_cut() -> None:
    for name, cap in (("tile/0/000", 8192), ("checkpoint", 256 * 1024)):
        assert served({name: bytes(cap)}).read(name) == bytes(cap)
        with pytest.raises(UnavailableError, match="over"):
            served({name: bytes(cap + 1)}).read(name)


def test_a_broken_server_is_not_a_missing_file() -> None:
    with pytest.raises(UnavailableError, match="500"):
        source(lambda _: httpx.Response(500)).read("checkpoint")


def policy_file(folder: Path, *witnesses: str, quorum: str = "none") -> Path:
    path = folder / "policy"
    lines = [f"log {verifier_key(ORIGIN, KEY).encode()}", *witnesses, f"quorum {quorum}", ""]
    path.write_text("\n".join(lines))
    return path


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(audit, ["verify", *map(str, arguments)])
    return result.exit_code, result.stdout + result.stderr


def test_the_command_demands_the_policys_quorum(tmp_path: Path) -> None:
    folder = write_log(tmp_path / "log", 10)
    policy = policy_file(tmp_path, f"witness w {W_VKEY.encode()}", quorum="w")
    code, output = run(folder, "--policy", policy)
    assert (code, "quorum w" in output) == (1, True)
    note = (folder / "checkpoint").read_text()
    head = Checkpoint(ORIGIN, 10, bytes.fromhex(verify_log_root(folder)))
    line = cosign(head, name="w.example", key=WITNESS, timestamp=int(time.time()) - 60)
    (folder / "checkpoint").write_text(note + line.encode())
    report = tmp_path / "report.json"
    code, output = run(folder, "--policy", policy, "--json", report)
    assert (code, "witness w cosigned" in output, "quorum w reached" in output) == (0, True, True)
    assert list(json.loads(report.read_text())["witnesses"]) == ["w"]
    assert run(folder, "--policy", policy, "--max-age", 3600)[0] == 0
    assert run(folder, "--policy", policy, "--max-age", 30)[0] == 1


def verify_log_root(folder: Path) -> str:
    root = verify_log(served(files_of(folder)), trust=TRUST).root
    assert root is not None
    return root


def test_the_command_refuses_a_log_that_the_policy_does_not_list(tmp_path: Path) -> None:
    folder = write_log(tmp_path / "log", 3)
    stranger = verifier_key(ORIGIN, SigningKey.generate()).encode()
    other = tmp_path / "other"
    other.write_text(f"log {stranger}\nquorum none\n")
    assert run(folder, "--policy", policy_file(tmp_path))[0] == 0
    assert run(folder, "--policy", other)[0] == 1
    other.write_text("nonsense\n")
    assert run(folder, "--policy", other)[0] == 2
    assert run(folder, "--policy", tmp_path / "missing")[0] == 2
    assert run("http://127.0.0.1:9/log", "--policy", policy_file(tmp_path))[0] == 2


def test_any_one_of_the_listed_logs_keys_will_do_and_vkeys_are_demanded_besides(tmp_path: Path) -> None:
    old = verifier_key(ORIGIN, SigningKey.generate())
    listed = Policy.parse(f"log {old.encode()}\nlog {verifier_key(ORIGIN, KEY).encode()}\nquorum none\n".encode())
    files = files_of(write_log(tmp_path, 3))
    assert verify_log(served(files), trust=Trust(policy=listed)).verified
    assert not verify_log(served(files), trust=Trust(keys=(old,), policy=listed)).verified


def test_row_02_a_rolled_back_log_is_caught_by_a_kept_checkpoint(tmp_path: Path) -> None:
    kept = write_log(tmp_path / "new", 300) / "checkpoint"
    rolled_back = write_log(tmp_path / "old", 200)
    report = verify_log(served(files_of(rolled_back)), trust=TRUST, since=kept)
    assert [(finding.what, "rolled back" in finding.why) for finding in report.findings] == [("history", True)]


def test_row_03_a_fork_by_the_keys_holder_and_a_single_leaf_head_with_an_empty_path_are_caught(
    tmp_path: Path,
) -> None:
    kept = write_log(tmp_path / "kept", 200, salt=b"one") / "checkpoint"
    forked = write_log(tmp_path / "fork", 300, salt=b"two")
    findings = verify_log(served(files_of(forked)), trust=TRUST, since=kept).findings
    assert [finding.what for finding in findings] == ["history"]
    single = files_of(write_log(tmp_path / "single", 1, salt=b"three"))
    single["checkpoint"] = sign_checkpoint(Checkpoint(ORIGIN, 300, bytes(32)), KEY).encode()
    assert not verify_log(served(single), trust=TRUST).verified


def test_row_26_an_entry_edited_by_its_operator_is_named_even_with_its_tile_redone(tmp_path: Path) -> None:
    files = files_of(write_log(tmp_path, 300))
    entries = decode_bundle(files["tile/entries/000"])
    entries[17] = bytes(33)
    files["tile/entries/000"] = encode_bundle(entries)
    findings = verify_log(served(files), trust=TRUST).findings
    assert ("entry", 17) in {(finding.what, finding.entry) for finding in findings}


@pytest.mark.parametrize(
    "line",
    [
        b'{"index":4,"payload":{"a":1},"salt":"%s"}' % (b"00" * 16),
        b'{"index":3,"payload":{"a":2},"salt":"%s"}' % (b"00" * 16),
        b'{"index":3,"payload":{"a":1},"salt":"%s"}' % (b"01" * 16),
        b'{"index":3,"payload":{"a":1},"salt":"%s"}' % (b"0 " * 16),
        b'{"index":3,"payload":{"a":1},"salt":"%s"} ' % (b"00" * 16),
        b"",
    ],
)
def test_only_the_opening_itself_opens_quickly(line: bytes) -> None:
    opening = Opening(3, bytes(16), b'{"a":1}')
    entry = commit(opening.salt, opening.payload)
    assert opens_quickly(opening.line(), 3, entry)
    assert not opens_quickly(line, 3, entry)


@pytest.mark.parametrize("length", range(5))
def test_a_sealed_line_is_known_by_its_one_spelling(length: int) -> None:
    line = SealedOpening(3, 10, b"\xff" * length).line()
    assert is_sealed(line, 3)
    assert SealedOpening.parse(line).ciphertext == b"\xff" * length
    others = [line + b" ", line.replace(b"10", b"010"), line.replace(b'"}', b'="}'), line.replace(b'"}', b'A"}')]
    others += [line.replace(b"w==", b"x=="), line.replace(b"8=", b"9="), b"", line[:-1]]
    for other in others:
        if other != line:
            assert not is_sealed(other, 3), other
    assert not is_sealed(line, 4)
