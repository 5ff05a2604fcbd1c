"""A checkpoint verified by OpenSSL alone: an auditor needs none of our code."""

import base64
import shutil
import subprocess
from pathlib import Path

import pytest

from consent.contract import SigningKey
from consent.log.note import Checkpoint, sign_checkpoint

ED25519_SPKI = bytes.fromhex("302a300506032b6570032100")
"""DER prefix of an Ed25519 public key, RFC 8410, section 10.1."""


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
@pytest.mark.parametrize("tampered", [False, True])
def test_openssl_checks_the_signature_of_a_checkpoint(tmp_path: Path, tampered: bool) -> None:
    key = SigningKey.generate()
    note = sign_checkpoint(Checkpoint("log.example/consent", 7, bytes(32)), key)
    text, _, signature = note.partition("\n\n")
    signed = f"{text}\n".replace("\n7\n", "\n8\n" if tampered else "\n7\n")
    (tmp_path / "text").write_text(signed)
    (tmp_path / "signature").write_bytes(base64.b64decode(signature.split()[-1])[4:])
    (tmp_path / "key.der").write_bytes(ED25519_SPKI + base64.b64decode(key.public_key))
    command = "openssl pkeyutl -verify -rawin -pubin -keyform DER -inkey key.der -in text -sigfile signature"
    done = subprocess.run(command.split(), cwd=tmp_path, capture_output=True, check=False)
    assert (done.returncode == 0) is not tampered
