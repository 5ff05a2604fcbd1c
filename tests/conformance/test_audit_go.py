"""The log verified by the Go team's sumdb packages, out of tiles and out of our own proofs.

`golang-go` and `golang-golang-x-mod-dev` of Debian are enough; nothing is fetched.
"""

import base64
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from go_checker import build_checker, needs_go
from small_log import write_log

from consent.contract import SigningKey
from consent.log.mldsa import MldsaKey
from consent.log.note import Note, cosign, sign_line
from consent.log.proof import TileTree, prove_entry
from consent.log.remote import LiveFolder

SIZES = (0, 1, 2, 255, 256, 257, 65_536, 70_000)

pytestmark = needs_go


@pytest.fixture(scope="module")
def check(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_checker(tmp_path_factory.mktemp("go"))


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    root = tmp_path_factory.mktemp("logs")
    return {size: write_log(root / str(size), size) for size in SIZES}


def run(check: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(check), str(folder), str(folder / "vkey"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def record(folder: Path, index: int, out: Path) -> str:
    file = out / f"{folder.name}-{index}.tlog-proof"
    file.write_text(prove_entry(LiveFolder(folder), index).encode())
    return f"record:{index}:{file}"


def tree(folder: Path, size: int, kept: Path, old_size: int, out: Path) -> str:
    file = out / f"{old_size}-{size}.hashes"
    file.write_text(hashes(TileTree(LiveFolder(folder), size).consistency(old_size)))
    return f"tree:{kept / 'checkpoint'}:{file}"


def hashes(nodes: Sequence[bytes]) -> str:
    return "".join(f"{base64.b64encode(node).decode()}\n" for node in nodes)


@pytest.mark.parametrize("size", SIZES)
def test_go_checks_note_root_inclusion_and_consistency(
    check: Path, logs: dict[int, Path], tmp_path: Path, size: int
) -> None:
    indices = sorted({0, 1, 254, 255, 256, size // 2, size - 1} & set(range(size)))
    arguments = [record(logs[size], index, tmp_path) for index in indices]
    arguments += [tree(logs[size], size, logs[old], old, tmp_path) for old in SIZES if 0 < old <= size]
    done = run(check, logs[size], *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"ok {size}\n", "")


def test_go_takes_a_head_with_mldsa_and_cosignatures(check: Path, tmp_path: Path) -> None:
    folder = write_log(tmp_path / "log", 300)
    note = Note.parse((folder / "checkpoint").read_text())
    extra = sign_line(note.checkpoint, MldsaKey.generate())
    witness = cosign(note.checkpoint, name="w.example", key=SigningKey.generate(), timestamp=1_800_000_000)
    (folder / "checkpoint").write_text(Note(note.checkpoint, (*note.lines, extra, witness)).encode())
    assert run(check, folder, record(folder, 299, tmp_path)).returncode == 0


def _signature(folder: Path) -> None:
    path = folder / "checkpoint"
    path.write_text(path.read_text().replace("\n300\n", "\n301\n"))


def _tile(folder: Path) -> None:
    path = folder / "tile/0/000"
    raw = path.read_bytes()
    path.write_bytes(raw[:32] + bytes(32) + raw[64:])


def _entry(folder: Path) -> None:
    path = folder / "tile/entries/000"
    path.write_bytes(path.read_bytes()[:4] + b"!" + path.read_bytes()[5:])


@pytest.mark.parametrize(
    ("change", "what"), [(_signature, "note"), (_tile, "from tiles"), (_entry, "inclusion from tiles")]
)
def test_go_refuses_what_was_changed(check: Path, tmp_path: Path, change: object, what: str) -> None:
    folder = write_log(tmp_path / "log", 300)
    argument = record(folder, 0, tmp_path)
    assert callable(change)
    change(folder)
    done = run(check, folder, argument)
    assert (done.returncode, what in done.stderr) == (1, True), done.stderr
