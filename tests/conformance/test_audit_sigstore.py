"""Heads and inclusion proofs verified by sigstore-python, which nobody here wrote."""

import base64
import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from small_log import KEY, ORIGIN, write_log

from consent.contract import SigningKey
from consent.log.mldsa import MldsaKey
from consent.log.note import Checkpoint, Note, cosign, sign_checkpoint, verifier_key
from consent.log.proof import EntryProof, prove_entry
from consent.log.remote import LiveFolder

checkpoints = pytest.importorskip("sigstore._internal.rekor.checkpoint", reason="sigstore is not installed")
merkle = pytest.importorskip("sigstore._internal.merkle")
trust = pytest.importorskip("sigstore._internal.trust")
models = pytest.importorskip("sigstore_models.common.v1")
errors = pytest.importorskip("sigstore.errors")

ED25519_SPKI = bytes.fromhex("302a300506032b6570032100")
"""DER prefix of an Ed25519 public key, RFC 8410, section 10.1."""
SIZES = (1, 2, 255, 256, 257, 65_536, 70_000)


def keyring(key: SigningKey) -> Any:
    spki = ED25519_SPKI + base64.b64decode(key.public_key)
    details = models.PublicKeyDetails.PKIX_ED25519
    return trust.Keyring([models.PublicKey(raw_bytes=base64.b64encode(spki), key_details=details)])


def open_with_sigstore(note: str, key: SigningKey) -> Any:
    signed = checkpoints.SignedCheckpoint.from_text(note)
    signed.signed_note.verify(keyring(key), verifier_key(ORIGIN, key).key_id)
    return signed.checkpoint


def check_inclusion(proof: EntryProof, checkpoint: Any, entry: bytes) -> None:
    inclusion = SimpleNamespace(
        log_index=proof.index,
        tree_size=checkpoint.log_size,
        hashes=list(proof.path),
        root_hash=bytes.fromhex(checkpoint.log_hash),
    )
    inner = SimpleNamespace(inclusion_proof=inclusion, canonicalized_body=entry)
    merkle.verify_merkle_inclusion(SimpleNamespace(_inner=inner))


@pytest.mark.parametrize("size", SIZES)
def test_sigstore_checks_head_and_inclusion(tmp_path: Path, size: int) -> None:
    folder = LiveFolder(write_log(tmp_path, size))
    for index in {0, size // 2, size - 1}:
        proof = prove_entry(folder, index)
        checkpoint = open_with_sigstore(proof.note, KEY)
        assert (checkpoint.origin, checkpoint.log_size, checkpoint.other_content) == (ORIGIN, size, [])
        assert proof.entry is not None
        check_inclusion(proof, checkpoint, proof.entry)
        with pytest.raises(errors.VerificationError):
            check_inclusion(proof, checkpoint, proof.entry + b"!")


def test_sigstore_takes_the_head_of_an_empty_log(tmp_path: Path) -> None:
    note = (write_log(tmp_path, 0) / "checkpoint").read_text()
    assert open_with_sigstore(note, KEY).log_hash == hashlib.sha256(b"").hexdigest()


def test_sigstore_takes_a_head_with_mldsa_and_cosignatures() -> None:
    head = Checkpoint(ORIGIN, 9, bytes(32))
    witness = cosign(head, name="w.example", key=SigningKey.generate(), timestamp=1_800_000_000)
    note = sign_checkpoint(head, MldsaKey.generate(), KEY) + witness.encode()
    assert len(Note.parse(note).lines) == 3
    assert open_with_sigstore(note, KEY).log_size == 9


def test_sigstore_refuses_another_key_and_a_changed_head() -> None:
    note = sign_checkpoint(Checkpoint(ORIGIN, 9, bytes(32)), KEY)
    with pytest.raises(errors.VerificationError):
        open_with_sigstore(note, SigningKey.generate())
    with pytest.raises(errors.VerificationError):
        open_with_sigstore(note.replace("\n9\n", "\n8\n"), KEY)
