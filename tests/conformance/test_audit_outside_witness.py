"""Our log under a witness and a verifier that nobody here wrote (aics-witness and aics-tlog of PyPI).

They need Python 3.12: install them into an environment of their own and put its `bin` on PATH.
"""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from small_log import KEY, ORIGIN, write_log

from consent.errors import LogInconsistentError
from consent.log.note import Note, VerifierKey, verifier_key
from consent.log.remote import LiveFolder
from consent.log.witnessing import WitnessAddress, Witnessing

pytestmark = pytest.mark.skipif(
    shutil.which("aics-witness") is None or shutil.which("aics-tlog") is None,
    reason="aics-witness and aics-tlog are not on PATH; they need Python 3.12",
)
VKEY = verifier_key(ORIGIN, KEY).encode()
NAME = "w.example/w1"


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[WitnessAddress]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        listen = f"127.0.0.1:{free.getsockname()[1]}"
    config = str(tmp_path / "witness.json")
    printed = run("aics-witness", "init", "-c", config, "--name", NAME, "--listen", listen)
    run("aics-witness", "add-log", "-c", config, "--origin", ORIGIN, "--vkey", VKEY)
    key = next(word for word in printed.split() if word.startswith(f"{NAME}+"))
    server = subprocess.Popen(["aics-witness", "serve", "-c", config], stderr=subprocess.DEVNULL)
    transport = httpx.HTTPTransport(retries=8)
    with httpx.Client(transport=transport) as http:
        http.get(f"http://{listen}/")
    yield WitnessAddress(f"http://{listen}", VerifierKey.parse(key))
    server.terminate()
    server.wait()


def shown(witness: WitnessAddress, folder: Path) -> Path:
    """Show a log's head to the witness and publish it with its cosignature."""
    refusals: list[str] = []
    with httpx.Client() as http:
        asking = Witnessing(
            [witness],
            quorum=1,
            http=http,
            source=LiveFolder(folder),
            on_refusal=lambda _, why: refusals.append(why),
        )
        note = (folder / "checkpoint").read_text()
        (folder / "checkpoint").write_text(asking.seal(note))
    assert refusals == []
    return folder


def test_an_outside_witness_cosigns_growth_and_an_outside_verifier_counts_it(
    tmp_path: Path, witness: WitnessAddress
) -> None:
    for size in (1, 256, 300):
        folder = shown(witness, write_log(tmp_path / str(size), size))
    assert Note.parse((folder / "checkpoint").read_text()).signers([witness.key])
    vkey = tmp_path / "trusted.vkey"
    vkey.write_text(f"{VKEY}\n")
    trust = ["--vkey-file", str(vkey), "--witness-key", witness.key.encode(), "--quorum", "1"]
    printed = run("aics-tlog", "verify-checkpoint", *trust, "--origin", ORIGIN, "--tiles", str(folder))
    assert '"ok": true' in printed


def test_row_02_and_03_an_outside_witness_stops_a_rollback_and_a_fork(
    tmp_path: Path, witness: WitnessAddress
) -> None:
    shown(witness, write_log(tmp_path / "log", 300))
    with pytest.raises(LogInconsistentError):
        shown(witness, write_log(tmp_path / "old", 200))
    with pytest.raises(LogInconsistentError):
        shown(witness, write_log(tmp_path / "fork", 400, b"fork"))
