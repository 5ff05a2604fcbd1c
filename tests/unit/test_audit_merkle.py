"""RFC 6962 hashing against published vectors, and proofs that must be refused."""

import hashlib

import pytest
from merkle_definition import consistency_proof

from consent.errors import ProofError
from consent.log import merkle

# Leaves and roots of certificate-transparency's reference tests (merkle_tree_test.cc), sizes 1 to 8.
ENTRIES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAVES = [merkle.leaf_hash(entry) for entry in ENTRIES]


def test_the_empty_tree_has_the_hash_of_nothing() -> None:
    assert merkle.root_hash([]) == hashlib.sha256(b"").digest()


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_equal_the_reference(size: int) -> None:
    assert merkle.root_hash(LEAVES[:size]).hex() == ROOTS[size - 1]


def test_an_inclusion_proof_equals_the_reference() -> None:
    proof = merkle.inclusion_proof(LEAVES, 5)
    assert [node.hex() for node in proof] == [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]


def test_a_consistency_proof_equals_the_reference() -> None:
    proof = consistency_proof(LEAVES, 6)
    assert [node.hex() for node in proof] == [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]


def test_a_frontier_survives_being_stored() -> None:
    frontier = merkle.Frontier()
    for size, leaf in enumerate(LEAVES, 1):
        frontier.append(leaf)
        frontier = merkle.Frontier.from_bytes(size, frontier.to_bytes())
        assert frontier.root().hex() == ROOTS[size - 1]


def test_a_frontier_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(ProofError):
        merkle.Frontier.from_bytes(3, b"\0" * 32)


@pytest.mark.parametrize("index", [-1, 8])
def test_there_is_no_proof_of_a_leaf_outside(index: int) -> None:
    with pytest.raises(ProofError):
        merkle.inclusion_proof(LEAVES, index)
    with pytest.raises(ProofError):
        merkle.verify_inclusion(leaf=LEAVES[0], index=index, size=8, proof=[], root=LEAVES[0])


def test_an_empty_proof_does_not_admit_a_foreign_head() -> None:
    with pytest.raises(ProofError):
        merkle.verify_consistency(
            old_size=4, old_root=LEAVES[0], new_size=8, new_root=merkle.root_hash(LEAVES), proof=[]
        )
