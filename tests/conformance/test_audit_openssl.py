"""A checkpoint verified by OpenSSL alone: an auditor needs none of our code."""

import base64
import shutil
import subprocess
from pathlib import Path

import pytest
from small_log import KEY, write_log

SIZES = (0, 1, 2, 255, 256, 257, 65_536, 70_000)
ED25519_SPKI = bytes.fromhex("302a300506032b6570032100")
"""DER prefix of an Ed25519 public key, RFC 8410, section 10.1."""


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
@pytest.mark.parametrize("tampered", [False, True], ids=["as it is", "tampered"])
@pytest.mark.parametrize("size", SIZES)
def test_openssl_checks_the_signature_of_a_checkpoint(tmp_path: Path, size: int, tampered: bool) -> None:
    folder = write_log(tmp_path / "log", size)
    text, _, signature = (folder / "checkpoint").read_text().partition("\n\n")
    signed = f"{text}\n".replace(f"\n{size}\n", f"\n{size + tampered}\n")
    (tmp_path / "text").write_text(signed)
    (tmp_path / "signature").write_bytes(base64.b64decode(signature.split()[-1])[4:])
    (tmp_path / "key.der").write_bytes(ED25519_SPKI + base64.b64decode(KEY.public_key))
    command = "openssl pkeyutl -verify -rawin -pubin -keyform DER -inkey key.der -in text -sigfile signature"
    done = subprocess.run(command.split(), cwd=tmp_path, capture_output=True, check=False)
    assert (done.returncode == 0) is not tampered
