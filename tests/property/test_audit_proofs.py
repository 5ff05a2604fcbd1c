"""Proofs of random trees hold, and any change to them does not."""

import hashlib
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from merkle_definition import consistency_proof

from consent.contract import canonical_json
from consent.errors import ProofError
from consent.log import merkle
from consent.log.commitments import canonical_payload

SIZES = st.integers(min_value=1, max_value=70)


def leaves(size: int) -> list[bytes]:
    return [merkle.leaf_hash(index.to_bytes(4, "big")) for index in range(size)]


def naive_root(nodes: list[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1, written as the definition reads."""
    if not nodes:
        return hashlib.sha256(b"").digest()
    if len(nodes) == 1:
        return nodes[0]
    split = 1
    while split * 2 < len(nodes):
        split *= 2
    return merkle.node_hash(naive_root(nodes[:split]), naive_root(nodes[split:]))


@given(st.integers(min_value=0, max_value=300))
def test_the_frontier_agrees_with_the_definition(size: int) -> None:
    assert merkle.root_hash(leaves(size)) == naive_root(leaves(size))


@given(SIZES, st.data())
def test_inclusion_proofs_hold_for_their_leaf_alone(size: int, data: st.DataObject) -> None:
    tree = leaves(size)
    index = data.draw(st.integers(0, size - 1))
    other = data.draw(st.integers(0, size - 1))
    proof, root = merkle.inclusion_proof(tree, index), naive_root(tree)
    merkle.verify_inclusion(leaf=tree[index], index=index, size=size, proof=proof, root=root)
    broken = [proof[:-1], [*proof, root]] if proof else [[root]]
    for wrong in broken:
        with pytest.raises(ProofError):
            merkle.verify_inclusion(leaf=tree[index], index=index, size=size, proof=wrong, root=root)
    if other != index:
        with pytest.raises(ProofError):
            merkle.verify_inclusion(leaf=tree[other], index=index, size=size, proof=proof, root=root)
        with pytest.raises(ProofError):
            merkle.verify_inclusion(leaf=tree[index], index=other, size=size, proof=proof, root=root)


def test_consistency_proofs_hold_for_every_pair_of_small_sizes() -> None:
    tree = leaves(33)
    for new, old in product(range(1, 34), repeat=2):
        if old > new:
            continue
        proof = consistency_proof(tree[:new], old)
        roots = {"old_root": naive_root(tree[:old]), "new_root": naive_root(tree[:new])}
        merkle.verify_consistency(old_size=old, new_size=new, proof=proof, **roots)
        forged = {**roots, "old_root": naive_root([*tree[: old - 1], b"\0" * 32])}
        with pytest.raises(ProofError):
            merkle.verify_consistency(old_size=old, new_size=new, proof=proof, **forged)
        forged = {**roots, "new_root": naive_root([*tree[: new - 1], b"\0" * 32])}
        with pytest.raises(ProofError):
            merkle.verify_consistency(old_size=old, new_size=new, proof=proof, **forged)


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), st.text() | st.integers(0, 2**31)))
def test_the_fast_encoding_of_flat_payloads_is_canonical(payload: dict[str, str | int]) -> None:
    assert canonical_payload(payload) == canonical_json(payload)
