"""Checkpoints and verifier keys, byte by byte."""

import base64

import pytest

from consent.contract import SigningKey
from consent.errors import LogError, NoteFormatError, SignatureError
from consent.log.note import Checkpoint, VerifierKey, open_checkpoint, sign_checkpoint, verifier_key

ORIGIN = "example.com/behind-the-sofa"
KEY = SigningKey.from_private_bytes(bytes(range(32)))
VERIFIER = verifier_key(ORIGIN, KEY)
CHECKPOINT = Checkpoint(origin=ORIGIN, size=20852163, root=bytes(range(32)))
NOTE = sign_checkpoint(CHECKPOINT, KEY)


def test_a_note_has_the_prescribed_lines() -> None:
    origin, size, root, blank, signature, end = NOTE.split("\n")
    assert (origin, size, blank, end) == (ORIGIN, "20852163", "", "")
    assert base64.b64decode(root) == bytes(range(32))
    dash, name, payload = signature.split(" ")
    assert (dash, name) == ("\N{EM DASH}", ORIGIN)
    raw = base64.b64decode(payload)
    assert (raw[:4], len(raw)) == (VERIFIER.key_id, 68)


def test_a_note_opens_under_its_key() -> None:
    assert open_checkpoint(NOTE, VERIFIER) == CHECKPOINT


def test_the_example_key_of_the_go_note_package_parses() -> None:
    text = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    key = VerifierKey.parse(text)
    assert (key.name, key.key_id.hex(), key.encode()) == ("PeterNeumann", "c74f20a3", text)


def test_signatures_of_others_are_ignored() -> None:
    witness = sign_checkpoint(CHECKPOINT, SigningKey.generate()).splitlines()[-1]
    assert open_checkpoint(f"{NOTE}{witness.replace(ORIGIN, 'witness.example')}\n", VERIFIER) == CHECKPOINT


def test_a_second_signature_under_our_key_must_fit_too() -> None:
    other = sign_checkpoint(Checkpoint(ORIGIN, 1, CHECKPOINT.root), KEY).splitlines()[-1]
    with pytest.raises(SignatureError):
        open_checkpoint(f"{NOTE}{other}\n", VERIFIER)


def test_another_key_does_not_open_a_note() -> None:
    with pytest.raises(SignatureError):
        open_checkpoint(NOTE, verifier_key(ORIGIN, SigningKey.generate()))
    with pytest.raises(SignatureError):
        open_checkpoint(NOTE, verifier_key("example.com/other", KEY))


@pytest.mark.parametrize("position", range(len(NOTE.encode())))
def test_no_byte_of_a_note_can_change(position: int) -> None:
    raw = bytearray(NOTE.encode())
    for flip in (0x01, 0x02, 0x20, 0x80):
        changed = raw[:]
        changed[position] ^= flip
        with pytest.raises((LogError, SignatureError, UnicodeDecodeError)):
            open_checkpoint(changed.decode(), VERIFIER)


@pytest.mark.parametrize(
    "text",
    ["", "\n", "a\n1\n\n", "a\n01\nAA==\n", f"a b\n1\n{'A' * 43}=\n", f"a\n-1\n{'A' * 43}=\n"],
)
def test_malformed_checkpoints_are_refused(text: str) -> None:
    with pytest.raises(NoteFormatError):
        Checkpoint.parse(text)


@pytest.mark.parametrize("text", ["", "a", "a+b", f"{VERIFIER.encode()}x", VERIFIER.encode().replace("s", "t")])
def test_malformed_verifier_keys_are_refused(text: str) -> None:
    with pytest.raises(NoteFormatError):
        VerifierKey.parse(text)


@pytest.mark.parametrize("origin", ["", "two words", "a+b"])
def test_an_origin_has_neither_spaces_nor_plus(origin: str) -> None:
    with pytest.raises(NoteFormatError):
        verifier_key(origin, KEY)
