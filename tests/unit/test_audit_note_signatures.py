"""Notes with several signatures: witnesses, ML-DSA-44, keys that overlap, lines of strangers."""

import hashlib
import struct
from pathlib import Path

import pytest

from consent.contract import SigningKey
from consent.contract.signing import verify_bytes
from consent.errors import NoteFormatError, SetupError, SignatureError
from consent.log.mldsa import MldsaKey, subtree_message
from consent.log.note import (
    COSIGNATURE,
    MAX_SIGNATURES,
    MLDSA44,
    Checkpoint,
    Note,
    VerifierKey,
    cosign,
    open_checkpoint,
    parse_keys,
    sign_checkpoint,
    verifier_key,
)

ORIGIN = "log.example/consent"
KEY, OLD = SigningKey.generate(), SigningKey.generate()
PQ = MldsaKey.from_seed(bytes(32))
WITNESS = SigningKey.generate()
CHECKPOINT = Checkpoint(ORIGIN, 7, hashlib.sha256(b"root").digest())
VKEY, PQ_VKEY = verifier_key(ORIGIN, KEY), verifier_key(ORIGIN, PQ)
W_VKEY = verifier_key("witness.example", WITNESS, COSIGNATURE)
COSIGNED = cosign(CHECKPOINT, name="witness.example", key=WITNESS, timestamp=1_700_000_000)


def stranger(number: int) -> str:
    return cosign(CHECKPOINT, name=f"w{number}.example", key=SigningKey.generate(), timestamp=1).encode()


def test_a_hybrid_head_needs_both_signatures() -> None:
    both = sign_checkpoint(CHECKPOINT, KEY, PQ)
    assert open_checkpoint(both, VKEY, PQ_VKEY) == open_checkpoint(both, VKEY) == CHECKPOINT
    with pytest.raises(SignatureError):
        open_checkpoint(sign_checkpoint(CHECKPOINT, KEY), VKEY, PQ_VKEY)
    with pytest.raises(SignatureError):
        open_checkpoint(sign_checkpoint(CHECKPOINT, PQ), VKEY, PQ_VKEY)


def test_an_mldsa_line_has_the_prescribed_bytes() -> None:
    line = Note.parse(sign_checkpoint(CHECKPOINT, PQ)).lines[0]
    assert (PQ_VKEY.algorithm, len(PQ_VKEY.public_key), len(line.signature)) == (MLDSA44, 1312, 8 + 2420)
    assert line.key_id == hashlib.sha256(ORIGIN.encode() + b"\n\x06" + PQ.public_key).digest()[:4]
    name = bytes([len(ORIGIN)]) + ORIGIN.encode()
    expected = b"subtree/v1\n\0" + name + struct.pack(">Q", 5) + name + struct.pack(">QQ", 0, 7) + CHECKPOINT.root
    stated = subtree_message(cosigner=ORIGIN, timestamp=5, origin=ORIGIN, size=7, root=CHECKPOINT.root)
    assert stated == expected


def test_an_mldsa_signature_fits_one_head_alone() -> None:
    line = sign_checkpoint(CHECKPOINT, PQ).splitlines()[-1]
    forged = f"{Checkpoint(ORIGIN, 8, CHECKPOINT.root).text()}\n{line}\n"
    with pytest.raises(SignatureError):
        open_checkpoint(forged, PQ_VKEY)


def test_a_cosignature_has_the_prescribed_bytes() -> None:
    assert COSIGNED.key_id == hashlib.sha256(b"witness.example\n\x04" + W_VKEY.public_key).digest()[:4]
    assert COSIGNED.signature[:8] == struct.pack(">Q", 1_700_000_000)
    message = f"cosignature/v1\ntime 1700000000\n{CHECKPOINT.text()}".encode()
    verify_bytes(
        public_key=WITNESS.public_key, message=message, signature=COSIGNED.signature[8:], what="cosignature"
    )


def test_a_cosignature_gives_its_time() -> None:
    note = Note.parse(sign_checkpoint(CHECKPOINT, KEY) + COSIGNED.encode())
    assert note.signers([VKEY, W_VKEY]) == {VKEY: None, W_VKEY: 1_700_000_000}


@pytest.mark.parametrize("position", [0, 7, 8, 71])
def test_no_byte_of_a_cosignature_can_change(position: int) -> None:
    raw = bytearray(COSIGNED.signature)
    raw[position] ^= 1
    line = type(COSIGNED)(COSIGNED.name, COSIGNED.key_id, bytes(raw))
    with pytest.raises(SignatureError):
        Note.parse(sign_checkpoint(CHECKPOINT, KEY) + line.encode()).signers([W_VKEY])


def test_sixteen_signatures_of_strangers_are_ignored_and_over_thirty_two_refused() -> None:
    note = sign_checkpoint(CHECKPOINT, KEY)
    assert open_checkpoint(note + "".join(map(stranger, range(16))), VKEY) == CHECKPOINT
    with pytest.raises(NoteFormatError):
        open_checkpoint(note + "".join(map(stranger, range(MAX_SIGNATURES))), VKEY)


def test_row_24_an_overlap_head_opens_under_the_old_and_under_the_new_key() -> None:
    old = verifier_key(ORIGIN, OLD)
    both = sign_checkpoint(CHECKPOINT, OLD, KEY)
    assert open_checkpoint(both, old) == open_checkpoint(both, VKEY) == open_checkpoint(both, old, VKEY)
    listed = parse_keys(f"{old.encode()}\n{VKEY.encode()}\n")
    assert open_checkpoint(sign_checkpoint(CHECKPOINT, KEY), *listed) == CHECKPOINT
    with pytest.raises(SignatureError):
        open_checkpoint(sign_checkpoint(CHECKPOINT, SigningKey.generate()), *listed)
    forged = sign_checkpoint(Checkpoint(ORIGIN, 9, CHECKPOINT.root), OLD).splitlines()[-1]
    with pytest.raises(SignatureError):
        open_checkpoint(f"{sign_checkpoint(CHECKPOINT, KEY)}{forged}\n", *listed)


def test_row_06_a_note_is_refused_where_a_known_keys_line_fails_and_unknown_lines_are_ignored() -> None:
    other = cosign(Checkpoint(ORIGIN, 8, CHECKPOINT.root), name="witness.example", key=WITNESS, timestamp=1)
    note = Note.parse(sign_checkpoint(CHECKPOINT, KEY) + COSIGNED.encode() + other.encode())
    assert note.signers([VKEY]) == {VKEY: None}
    with pytest.raises(SignatureError):
        note.signers([VKEY, W_VKEY])


def test_a_witness_is_no_log_even_under_the_logs_name() -> None:
    alias = verifier_key(ORIGIN, WITNESS, COSIGNATURE)
    note = f"{CHECKPOINT.text()}\n{cosign(CHECKPOINT, name=ORIGIN, key=WITNESS, timestamp=1).encode()}"
    with pytest.raises(SignatureError):
        open_checkpoint(note, alias)
    with pytest.raises(SignatureError):
        open_checkpoint(note, VKEY, alias)


@pytest.mark.parametrize("key", [VKEY, W_VKEY, PQ_VKEY])
def test_verifier_keys_of_every_type_come_back(key: VerifierKey) -> None:
    assert VerifierKey.parse(key.encode()) == key


def test_an_mldsa_key_file_is_private_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "log-mldsa.key"
    with pytest.raises(SetupError):
        MldsaKey.load(path)
    key = MldsaKey.create(path)
    assert MldsaKey.create(path).public_key == key.public_key
    path.chmod(0o644)
    with pytest.raises(SetupError):
        MldsaKey.load(path)
