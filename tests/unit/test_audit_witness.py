"""The witness: what it cosigns, what it refuses, and what it remembers (C2SP tlog-witness)."""

import base64
import hashlib
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import pytest
from merkle_definition import consistency_proof
from small_log import KEY, ORIGIN, entries

from consent.contract import SigningKey
from consent.errors import SetupError
from consent.log import merkle
from consent.log.note import COSIGNATURE, Checkpoint, Note, SignatureLine, sign_checkpoint, verifier_key
from consent.transport import InProcessTransport
from consent.witness import WitnessSettings, create_app, initialise
from consent.witness.setup import KEY as KEY_FILE

NOW = 1_800_000_000
LEAVES = [merkle.leaf_hash(entry) for entry in entries(20)]
FORK = [merkle.leaf_hash(entry) for entry in entries(20, b"fork")]


class Witness:
    """A running witness; `add` submits the head of a tree of leaves."""

    def __init__(self, folder: Path, *logs: SigningKey) -> None:
        keys = tuple(verifier_key(ORIGIN, key).encode() for key in logs)
        self.settings = WitnessSettings(data_dir=folder, name="w.example", logs=keys)
        self.vkey = initialise(self.settings)
        self.transport = InProcessTransport(create_app(self.settings, now=lambda: NOW))
        self.http = httpx.Client(transport=self.transport, base_url="http://w")

    def post(self, body: str | bytes) -> httpx.Response:
        return self.http.post("/add-checkpoint", content=body)

    def add(
        self, old: int, size: int, *, leaves: Sequence[bytes] = LEAVES, proof: Sequence[bytes] | None = None
    ) -> httpx.Response:
        proof = (consistency_proof(leaves[:size], old) if old else []) if proof is None else proof
        return self.post(body(old, proof, signed(leaves, size)))

    def kept(self) -> str:
        return self.http.get(f"/{hashlib.sha256(ORIGIN.encode()).hexdigest()}/checkpoint").text


def signed(leaves: Sequence[bytes], size: int, *keys: SigningKey) -> str:
    return sign_checkpoint(Checkpoint(ORIGIN, size, merkle.root_hash(leaves[:size])), *(keys or (KEY,)))


def body(old: int | str, proof: Sequence[bytes], note: str) -> str:
    lines = "".join(f"{base64.b64encode(node).decode()}\n" for node in proof)
    return f"old {old}\n{lines}\n{note}"


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[Witness]:
    witness = Witness(tmp_path / "witness", KEY)
    yield witness
    witness.transport.close()


def test_a_growing_log_is_cosigned(witness: Witness) -> None:
    for old, size in ((0, 0), (0, 1), (1, 7), (7, 7), (7, 8), (8, 20)):
        response = witness.add(old, size)
        assert response.status_code == 200, response.text
        note = Note.parse(signed(LEAVES, size) + response.text)
        assert note.signers([witness.vkey]) == {witness.vkey: NOW}
        assert Note.parse(witness.kept()).checkpoint == note.checkpoint
        assert len(Note.parse(witness.kept()).signers([witness.vkey, verifier_key(ORIGIN, KEY)])) == 2


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"old 0\n",
        b"\xff",
        b"new 0\n\n" + signed(LEAVES, 3).encode(),
        b"old 00\n\n" + signed(LEAVES, 3).encode(),
        b"old -1\n\n" + signed(LEAVES, 3).encode(),
        b"old 0\nAA==\n\n" + signed(LEAVES, 3).encode(),
        b"old 0\nnonsense\n\n" + signed(LEAVES, 3).encode(),
        body(0, [bytes(32)] * 64, signed(LEAVES, 3)).encode(),
        body(4, [], signed(LEAVES, 3)).encode(),
        b"old 0\n\n" + signed(LEAVES, 3).replace("\n\n", "\nextension\n\n").encode(),
        b"x" * (300 * 1024),
    ],
)
def test_400_what_is_malformed(witness: Witness, text: bytes) -> None:
    assert witness.post(text).status_code == 400
    assert witness.add(0, 3).status_code == 200


def test_404_an_unknown_log(witness: Witness) -> None:
    other = Checkpoint("other.example/log", 3, bytes(32))
    assert witness.post(body(0, [], sign_checkpoint(other, KEY))).status_code == 404
    assert witness.http.get(f"/{'0' * 64}/checkpoint").status_code == 404
    assert witness.http.get(f"/{hashlib.sha256(ORIGIN.encode()).hexdigest()}/checkpoint").status_code == 404


def test_403_a_head_that_the_log_did_not_sign(witness: Witness) -> None:
    assert witness.post(body(0, [], signed(LEAVES, 3, SigningKey.generate()))).status_code == 403
    forged = signed(LEAVES, 3).splitlines()[-1]
    stolen = f"{Checkpoint(ORIGIN, 4, merkle.root_hash(LEAVES[:4])).text()}\n{forged}\n"
    assert witness.post(body(0, [], stolen)).status_code == 403
    assert witness.add(0, 3).status_code == 200


def test_row_02_a_rolled_back_log_gets_409_with_the_size_that_was_cosigned(witness: Witness) -> None:
    witness.add(0, 12)
    for old, size in ((0, 5), (5, 8), (0, 12), (11, 12), (13, 20)):
        response = witness.add(old, size)
        assert (response.status_code, response.text) == (409, "12\n")
        assert response.headers["content-type"].partition(";")[0] == "text/x.tlog.size"
    assert Note.parse(witness.kept()).checkpoint.size == 12


def test_row_03_a_fork_by_the_holder_of_the_key_is_not_cosigned(witness: Witness) -> None:
    witness.add(0, 12)
    assert witness.add(12, 12, leaves=FORK, proof=[]).status_code == 409
    assert witness.add(12, 20, leaves=FORK).status_code == 422
    assert witness.add(12, 20, proof=[]).status_code == 422
    assert witness.add(12, 20, proof=[*consistency_proof(LEAVES, 12), bytes(32)]).status_code == 422
    assert witness.add(12, 12, proof=[bytes(32)]).status_code == 422
    assert witness.add(12, 20).status_code == 200


def test_a_first_head_needs_no_proof_and_may_not_bring_one(witness: Witness) -> None:
    assert witness.add(0, 12, proof=[bytes(32)]).status_code == 422
    single = Checkpoint(ORIGIN, 0, bytes(32))
    assert witness.post(body(0, [], sign_checkpoint(single, KEY))).status_code == 409


def test_row_06_forged_witness_line_does_not_poison_state(witness: Witness) -> None:
    key_id = verifier_key("w.example", SigningKey.generate(), COSIGNATURE).key_id
    ours = SignatureLine("w.example", witness.vkey.key_id, bytes(72)).encode()
    theirs = SignatureLine("other.example", key_id, bytes(72)).encode()
    response = witness.post(body(0, [], signed(LEAVES, 3) + ours + theirs))
    assert response.status_code == 200
    kept = Note.parse(witness.kept())
    assert len(kept.lines) == 2
    assert kept.signers([witness.vkey, verifier_key(ORIGIN, KEY)]) == {
        witness.vkey: NOW,
        verifier_key(ORIGIN, KEY): None,
    }
    assert witness.add(3, 7).status_code == 200


def test_row_24_old_and_new_key_of_one_log_are_known_side_by_side(tmp_path: Path) -> None:
    new = SigningKey.generate()
    witness = Witness(tmp_path / "witness", KEY, new)
    assert witness.post(body(0, [], signed(LEAVES, 3, KEY))).status_code == 200
    grown = consistency_proof(LEAVES[:5], 3)
    assert witness.post(body(3, grown, signed(LEAVES, 5, KEY, new))).status_code == 200
    assert witness.post(body(5, consistency_proof(LEAVES, 5), signed(LEAVES, 20, new))).status_code == 200
    witness.transport.close()


def test_two_heads_at_once_are_cosigned_in_one_order(witness: Witness) -> None:
    witness.add(0, 5)
    results: list[tuple[int, int]] = []

    def submit(size: int) -> None:
        results.append((size, witness.add(5, size).status_code))

    threads = [threading.Thread(target=submit, args=(size,)) for size in range(6, 14)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    cosigned = [size for size, status in results if status == 200]
    assert (len(cosigned), len(results)) == (1, 8)
    assert {status for _, status in results} == {200, 409}
    assert Note.parse(witness.kept()).checkpoint.size == cosigned[0]


def test_state_outlives_a_restart(tmp_path: Path) -> None:
    first = Witness(tmp_path / "witness", KEY)
    first.add(0, 12)
    first.transport.close()
    again = Witness(tmp_path / "witness", KEY)
    assert (again.vkey, again.add(0, 5).status_code) == (first.vkey, 409)
    again.transport.close()


def test_what_a_witness_needs_at_start(tmp_path: Path) -> None:
    settings = WitnessSettings(data_dir=tmp_path, name="w.example", logs=(verifier_key(ORIGIN, KEY).encode(),))
    with pytest.raises(SetupError, match="witness init"):
        create_app(settings)
    vkey = initialise(settings)
    assert (tmp_path / KEY_FILE).stat().st_mode & 0o777 == 0o600
    with pytest.raises(SetupError, match="knows no log"):
        create_app(settings.model_copy(update={"logs": ()}))
    with pytest.raises(SetupError, match="not a log's"):
        create_app(settings.model_copy(update={"logs": (vkey.encode(),)}))
    with pytest.raises(SetupError):
        create_app(settings.model_copy(update={"logs": ("nonsense",)}))
    (tmp_path / KEY_FILE).chmod(0o640)
    with pytest.raises(SetupError, match="readable by others"):
        create_app(settings)
