"""The tree under a snapshot's root, against one that is written from its definition and nothing else."""

import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from consent.contract import MembershipProof
from consent.contract.membership import bit, descend, leaf, members_root, node, path_key, prove, subtree
from consent.errors import ProofError
from consent.service.member_tree import MemberTree

SUBJECTS = st.integers(0, 400).map(lambda number: hashlib.sha256(number.to_bytes(4, "big")).hexdigest())
CLOSE_KEYS = st.builds(
    lambda number, shift: (number << shift).to_bytes(32, "big"),
    st.integers(0, 40),
    st.sampled_from([0, 2, 120, 250]),
)
"""Keys that share long stretches of their paths, as hashes hardly ever do."""
SETS = st.frozensets(SUBJECTS, max_size=60)


def naive(bits: Sequence[str]) -> bytes:
    """Return the hash of a subtree over the rests of its members' paths, by the definition."""
    return naive_below([(rest, hashlib.sha256(b"\x00" + whole(rest)).digest()) for rest in bits])


def whole(bits: str) -> bytes:
    return int(bits, 2).to_bytes(32, "big")


def naive_below(members: list[tuple[str, bytes]]) -> bytes:
    if not members:
        return b"\x00" * 32
    if len(members) == 1:
        return members[0][1]
    left = naive_below([(rest[1:], leaf) for rest, leaf in members if rest[0] == "0"])
    right = naive_below([(rest[1:], leaf) for rest, leaf in members if rest[0] == "1"])
    return hashlib.sha256(b"\x01" + left + right).digest()


def as_bits(key: bytes) -> str:
    return f"{int.from_bytes(key, 'big'):0256b}"


def naive_root(members: frozenset[str]) -> str:
    keys = [hashlib.sha256(b"\x02" + bytes.fromhex(member)).digest() for member in members]
    return naive([as_bits(key) for key in keys]).hex()


def test_the_smallest_trees() -> None:
    ann = hashlib.sha256(b"ann").hexdigest()
    key = hashlib.sha256(b"\x02" + bytes.fromhex(ann)).digest()
    assert members_root(()) == "00" * 32
    assert members_root((ann,)) == hashlib.sha256(b"\x00" + key).hexdigest()


@given(SETS)
def test_the_root_is_that_of_the_definition(members: frozenset[str]) -> None:
    assert members_root(members) == naive_root(members)
    assert members_root(sorted(members, reverse=True)) == naive_root(members)


@given(st.frozensets(CLOSE_KEYS, max_size=40))
def test_keys_that_share_long_paths_give_the_root_of_the_definition(keys: frozenset[bytes]) -> None:
    assert subtree(sorted(keys)) == naive([as_bits(key) for key in keys])
    assert MemberTree.build(sorted(keys)).root == subtree(sorted(keys)).hex()


@given(SETS, SUBJECTS)
def test_every_customer_has_a_proof_and_it_says_the_truth(members: frozenset[str], subject: str) -> None:
    proof = prove(members, subject)
    assert proof.verify(subject, members_root(members)) == (subject in members)
    assert MembershipProof.model_validate_json(proof.model_dump_json()) == proof


@given(st.frozensets(SUBJECTS, min_size=2, max_size=60), SUBJECTS, st.data())
def test_an_altered_proof_is_refused(members: frozenset[str], subject: str, data: st.DataObject) -> None:
    proof, root = prove(members, subject), members_root(members)
    raw = bytearray(b"".join(bytes.fromhex(one) for one in (*proof.siblings, *filter(None, [proof.other]))))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    parts = [raw[start : start + 32].hex() for start in range(0, len(raw), 32)]
    siblings, rest = parts[: len(proof.siblings)], parts[len(proof.siblings) :]
    altered = proof.model_copy(update={"siblings": tuple(siblings), "other": rest[0] if rest else None})
    with pytest.raises(ProofError):
        altered.verify(subject, root)


@given(st.frozensets(SUBJECTS, min_size=2, max_size=60), SUBJECTS, st.data())
def test_siblings_that_are_swapped_left_out_or_added_are_refused(
    members: frozenset[str], subject: str, data: st.DataObject
) -> None:
    proof, root = prove(members, subject), members_root(members)
    siblings = list(proof.siblings)
    what = data.draw(st.sampled_from(["swap", "leave out", "add"]))
    place = data.draw(st.integers(0, len(siblings) - 1))
    if what == "swap":
        other = data.draw(st.integers(0, len(siblings) - 1))
        siblings[place], siblings[other] = siblings[other], siblings[place]
    elif what == "leave out":
        del siblings[place]
    else:
        siblings.insert(place, data.draw(st.sampled_from(["00" * 32, *siblings])))
    assume(tuple(siblings) != proof.siblings)
    with pytest.raises(ProofError):
        proof.model_copy(update={"siblings": tuple(siblings)}).verify(subject, root)


@given(SETS, SUBJECTS, SUBJECTS)
def test_a_proof_is_of_one_customer_and_of_one_set(members: frozenset[str], one: str, other: str) -> None:
    assume(one != other)
    proof = prove(members, one)
    root = members_root(members)
    if one in members:
        with pytest.raises(ProofError):
            proof.verify(other, root)
    with pytest.raises(ProofError):
        proof.verify(one, members_root(members ^ {one}))
    with pytest.raises(ProofError):
        proof.verify(one, "00" * 31 + "01")


@given(SETS, SUBJECTS)
def test_a_member_is_never_shown_to_be_none_nor_the_other_way_round(members: frozenset[str], subject: str) -> None:
    proof, root = prove(members, subject), members_root(members)
    lies = [proof.model_copy(update={"member": not proof.member, "other": None})]
    if proof.member:
        ends = [path_key(member).hex() for member in members]
        lies += [proof.model_copy(update={"member": False, "other": end}) for end in ends]
        lies += [
            lie.model_copy(update={"siblings": proof.siblings[:depth]})
            for lie in list(lies)
            for depth in range(len(proof.siblings))
        ]
    for lie in lies:
        with pytest.raises(ProofError):
            lie.verify(subject, root)


@given(SUBJECTS, SUBJECTS)
def test_a_root_that_was_not_made_by_the_rules_proves_nothing(subject: str, other: str) -> None:
    """Whoever makes roots can not place members off their paths, nor hide a path below empty subtrees."""
    key, off = path_key(subject), path_key(other)
    assume(bit(key, 0) != bit(off, 0))
    beside = "ab" * 32
    lies = [
        (MembershipProof(member=False, siblings=(beside,), other=off.hex()), leaf(off), bytes.fromhex(beside)),
        (MembershipProof(member=True, siblings=("00" * 32,)), leaf(key), bytes(32)),
        (MembershipProof(member=False, siblings=("00" * 32,)), bytes(32), bytes(32)),
    ]
    for lie, end, sibling in lies:
        root = node(sibling, end) if bit(key, 0) else node(end, sibling)
        with pytest.raises(ProofError):
            lie.verify(subject, root.hex())


def test_a_proof_with_both_ends_is_not_one() -> None:
    with pytest.raises(ValidationError):
        MembershipProof(member=True, siblings=(), other="00" * 32)
    with pytest.raises(ValidationError):
        MembershipProof(member=True, siblings=("ab" * 32,) * 257)


@given(st.frozensets(CLOSE_KEYS, max_size=40), CLOSE_KEYS)
def test_a_proof_goes_no_deeper_than_its_members_demand(keys: frozenset[bytes], key: bytes) -> None:
    """A set has one root and a customer one proof under it."""
    siblings, end = descend(sorted(keys), key)
    assert siblings == [] or siblings[-1] != bytes(32)
    assert (end == key) == (key in keys)


HISTORIES = st.lists(st.tuples(SETS, SETS), max_size=6)


@given(SETS, HISTORIES, st.sampled_from([0, 1, 3, 8]))
def test_the_kept_tree_is_the_tree_of_the_set_whatever_its_history(
    first: frozenset[str], changes: list[tuple[frozenset[str], frozenset[str]]], bits: int
) -> None:
    held = set(first)
    tree = MemberTree.build(sorted(map(path_key, held)), bits=bits)
    for come, go in changes:
        before, old_root = tree, tree.root
        tree = tree.changed(come=map(path_key, come), go=map(path_key, go))
        held = (held | come) - go
        assert (tree.root, tree.members) == (members_root(held), len(held))
        assert before.root == old_root
    for subject in sorted(first | held)[:5]:
        assert tree.prove(subject) == prove(held, subject)
        assert tree.prove(subject).verify(subject, tree.root) == (subject in held)


@given(SETS, SETS)
def test_who_comes_and_goes_again_leaves_the_old_root(members: frozenset[str], guests: frozenset[str]) -> None:
    tree = MemberTree.build(sorted(map(path_key, members)), bits=4)
    new = [path_key(guest) for guest in guests - members]
    assert tree.changed(come=new, go=()).changed(come=(), go=new).root == tree.root
