"""The recipe of the document, run as it stands: a customer computes their leaf with a shell and OpenSSL."""

import hashlib
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from rights_desk import CONTROLLER, PURPOSE

from consent.contract import Act
from consent.rights import ReceiptRequest

DOCUMENT = Path(__file__).parents[2] / "docs" / "receipts-and-rights.md"
RECIPE = re.compile(r"By hand.*?```\n(.*?)```", re.DOTALL)
ANN = hashlib.sha256(b"ann").hexdigest()

pytestmark = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in ("openssl", "xxd", "base64", "sed")),
    reason="A tool of the recipe is missing: apt-get install openssl xxd",
)


def test_the_recipe_gives_the_digest_of_the_proof_twice(consent_world: Any, tmp_path: Path) -> None:
    consent_world.brand("acme").record_controller("acme", CONTROLLER)
    (index,) = consent_world.record("acme", Act.GRANT, ANN)
    wanted = ReceiptRequest(brand="acme", subject=ANN, purpose=PURPOSE)
    (tmp_path / "receipt.jsonld").write_bytes(consent_world.brand("acme").receipt(wanted))
    recipe = RECIPE.search(DOCUMENT.read_text())
    assert recipe is not None
    script = recipe[1].replace("entry-17", f"entry-{index}")
    done = subprocess.run(["bash", "-e", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    computed, stated = (line.split()[-1] for line in done.stdout.splitlines())
    assert (computed, len(stated)) == (stated, 64)
