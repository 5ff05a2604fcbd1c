"""Canonical bytes, digests and signatures of the contract, against a file that other implementations can read."""

import base64
import hashlib
import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from consent import contract
from consent.contract import Signed, canonical_json

FOLDER = Path(__file__).parents[1] / "vectors"
VECTORS: list[dict[str, Any]] = json.loads((FOLDER / "contract.json").read_text())


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_contract_vectors", FOLDER / "make_contract_vectors.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_contract_still_gives_the_vectors() -> None:
    assert generator().document() == (FOLDER / "contract.json").read_text()


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["type"])
def test_a_vector_holds_without_our_signing_code(vector: dict[str, Any]) -> None:
    canonical = vector["canonical"].encode()
    assert hashlib.sha256(canonical).hexdigest() == vector["digest"]
    assert json.loads(canonical) == vector["value"]
    message = f"confide/v1/{vector['type']}\n".encode() + canonical
    assert message.hex() == vector["signed_bytes"]
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(vector["signer"]))
    key.verify(base64.b64decode(vector["signature"]), message)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["type"])
def test_a_vector_is_read_back_as_the_same_value(vector: dict[str, Any]) -> None:
    kind = getattr(contract, vector["type"])
    text = json.dumps({"body": vector["value"], "signer": vector["signer"], "signature": vector["signature"]})
    signed = Signed[kind].model_validate_json(text)
    assert signed.verify(vector["signer"]).canonical_bytes().decode() == vector["canonical"]
    assert Signed[kind].model_validate_json(signed.model_dump_json()) == signed


@pytest.mark.parametrize(
    ("value", "canonical"),
    [
        # RFC 8785, appendix B and section 3.2.3.
        (333333333.33333329, "333333333.3333333"),
        (1e30, "1e+30"),
        (4.50, "4.5"),
        (2e-3, "0.002"),
        (1e-27, "1e-27"),
        (-0.0, "0"),
        ('\u20ac$\u000f\nA\'B"\\\\"/', '"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"'),
        ({"\u20ac": 1, "\r": 2, "1": 3, "\U0001f600": 4, "\ufb33": 5}, '{"\\r":2,"1":3,"€":1,"😀":4,"\ufb33":5}'),
    ],
)
def test_canonical_json_is_rfc_8785(value: Any, canonical: str) -> None:
    assert canonical_json(value).decode() == canonical
