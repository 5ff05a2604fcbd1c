"""Proofs from tiles, and the files that carry them."""

from pathlib import Path

import pytest
from merkle_definition import consistency_proof
from small_log import KEY, ORIGIN, entries, write_log

from consent.contract import SigningKey
from consent.errors import LogError, NotFoundError, ProofError, SignatureError, TileMissingError
from consent.log import merkle
from consent.log.note import Checkpoint, Note, open_checkpoint, sign_checkpoint, verifier_key
from consent.log.proof import EntryProof, TileTree, from_one_view, prove_entry
from consent.log.remote import LiveFolder

VKEY = verifier_key(ORIGIN, KEY)


def leaves(size: int) -> list[bytes]:
    return [merkle.leaf_hash(entry) for entry in entries(size)]


@pytest.mark.parametrize("size", [1, 2, 3, 255, 256, 257, 700])
def test_proofs_from_tiles_are_those_of_the_definition(tmp_path: Path, size: int) -> None:
    tree = TileTree(LiveFolder(write_log(tmp_path, size)), size)
    known = leaves(size)
    assert tree.root() == merkle.root_hash(known)
    for index in {0, 1, size // 2, 254, 255, 256, size - 1}:
        if index < size:
            assert tree.inclusion(index) == merkle.inclusion_proof(known, index)
            assert tree.entry(index) == entries(size)[index]
    for old in {1, 2, size // 2, 255, 256, 257, size - 1, size}:
        if 0 < old <= size:
            assert tree.consistency(old) == consistency_proof(known, old)
    with pytest.raises(ProofError):
        tree.inclusion(size)
    with pytest.raises(ProofError):
        tree.consistency(size + 1)


def test_a_proof_file_has_the_prescribed_lines(tmp_path: Path) -> None:
    proof = prove_entry(LiveFolder(write_log(tmp_path, 5)), 2)
    header, extra, index, *rest = proof.encode().split("\n")
    assert (header, extra[:6], index) == ("c2sp.org/tlog-proof@v1", "extra ", "index 2")
    assert rest[3] == "" and rest[4] == ORIGIN  # noqa: PT018 - one fact: where the checkpoint begins
    assert proof.encode().endswith((tmp_path / "checkpoint").read_text())
    assert EntryProof.parse(proof.encode()) == proof
    assert proof.verify(open_checkpoint(proof.note, VKEY)) == entries(5)[2]


def check(raw: bytes | bytearray) -> bytes:
    proof = EntryProof.parse(raw.decode())
    return proof.verify(open_checkpoint(proof.note, VKEY))


def test_no_byte_of_a_proof_can_change(tmp_path: Path) -> None:
    raw = prove_entry(LiveFolder(write_log(tmp_path, 5)), 2).encode().encode()
    for position in range(len(raw)):
        for flip in (0x01, 0x20):
            changed = bytearray(raw)
            changed[position] ^= flip
            with pytest.raises((LogError, SignatureError, UnicodeDecodeError)):
                check(changed)


def test_a_proof_is_of_the_entry_that_was_asked_for(tmp_path: Path) -> None:
    proof = prove_entry(LiveFolder(write_log(tmp_path, 5)), 2)
    checkpoint = open_checkpoint(proof.note, VKEY)
    with pytest.raises(ProofError):
        proof.verify(checkpoint, entries(5)[1])
    bare = EntryProof(proof.index, proof.path, proof.note)
    assert bare.verify(checkpoint, entries(5)[2])
    with pytest.raises(ProofError):
        bare.verify(checkpoint)


@pytest.mark.parametrize("text", ["", "c2sp.org/tlog-proof@v1\n\n", "c2sp.org/tlog-proof@v1\nindex 01\n\nx"])
def test_what_is_not_a_proof_is_refused(text: str) -> None:
    with pytest.raises(ProofError):
        EntryProof.parse(text)


class Growing:
    """A log whose partial tiles vanish after the checkpoint was read: it grew between two reads."""

    def __init__(self, before: Path, after: Path) -> None:
        self.before, self.after = LiveFolder(before), LiveFolder(after)
        self.grown = False

    def read(self, name: str) -> bytes | None:
        if self.grown or name != "checkpoint":
            return self.after.read(name)
        self.grown = True
        return self.before.read(name)

    def names(self) -> None:
        """Nothing can be listed."""


def test_row_25_a_proof_and_its_checkpoint_are_of_one_size_though_the_log_grows(tmp_path: Path) -> None:
    source = Growing(write_log(tmp_path / "before", 100), write_log(tmp_path / "after", 200))
    proof = prove_entry(source, 5)
    checkpoint = open_checkpoint(proof.note, VKEY)
    assert checkpoint.size == 200
    assert proof.verify(checkpoint) == entries(200)[5]
    completed = Growing(write_log(tmp_path / "b", 100), write_log(tmp_path / "full", 256))
    proof = prove_entry(completed, 5)
    assert open_checkpoint(proof.note, VKEY).size == 100
    assert proof.verify(open_checkpoint(proof.note, VKEY)) == entries(100)[5]


def test_a_log_that_is_not_whole_gives_no_proofs(tmp_path: Path) -> None:
    folder = write_log(tmp_path, 300)
    (folder / "tile/0/001.p/44").unlink()
    with pytest.raises(TileMissingError):
        prove_entry(LiveFolder(folder), 5)
    with pytest.raises(NotFoundError):
        prove_entry(LiveFolder(folder), 300)
    with pytest.raises(NotFoundError):
        from_one_view(LiveFolder(tmp_path / "none"), lambda note, _: note)


def test_a_forged_head_carries_no_proof(tmp_path: Path) -> None:
    proof = prove_entry(LiveFolder(write_log(tmp_path, 5)), 2)
    head = Note.parse(proof.note).checkpoint
    forged = sign_checkpoint(Checkpoint(ORIGIN, head.size, head.root), SigningKey.generate())
    with pytest.raises(SignatureError):
        open_checkpoint(EntryProof(2, proof.path, forged, proof.entry).note, VKEY)
