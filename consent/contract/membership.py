"""Whether a customer is under a snapshot's root: proofs of membership, and of its absence.

The root is that of a compact sparse Merkle tree over 2^256 places (Laurie and Kasper, "Revocation transparency",
2012; the collapse of subtrees with one member as in Dahlberg, Pulls and Peeters, "Efficient sparse Merkle trees",
2016, section 3). A member's place is its path key, SHA-256(0x02 || pseudonym), read from the most significant bit.
A subtree without members is 32 zero bytes; one with a single member is that member's leaf, SHA-256(0x00 || key),
whatever its depth; one with more is SHA-256(0x01 || left || right). The root depends on the set alone.

A proof names nobody else: where the path of a customer ends at another member, it shows that member's path key,
which is a hash of a pseudonym.
"""

import hashlib
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Annotated, Self

from pydantic import Field, model_validator

from consent.contract.canonical import ContractModel, Digest
from consent.errors import ProofError

EMPTY = bytes(32)
"""The hash of a subtree without members."""
KEY_BITS = 256


def path_key(subject: str) -> bytes:
    """Return a pseudonym's place in the tree, 32 bytes."""
    return hashlib.sha256(b"\x02" + bytes.fromhex(subject)).digest()


def leaf(key: bytes) -> bytes:
    """Return the hash of a subtree with one member."""
    return hashlib.sha256(b"\x00" + key).digest()


def node(left: bytes, right: bytes) -> bytes:
    """Return the hash of a subtree with more than one member."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def bit(key: bytes, depth: int) -> bool:
    """Return the bit of a key by which the tree splits at a depth."""
    return bool(key[depth >> 3] & 0x80 >> (depth & 7))


def subtree(keys: Sequence[bytes], depth: int = 0, low: int = 0, high: int | None = None) -> bytes:
    """Return the hash of the subtree at `depth` over `keys[low:high]`, sorted, distinct, and all on its path."""
    high = len(keys) if high is None else high
    if high - low == 0:
        return EMPTY
    if high - low == 1:
        return leaf(keys[low])
    middle = _split(keys, depth, low, high)
    return node(subtree(keys, depth + 1, low, middle), subtree(keys, depth + 1, middle, high))


def members_root(members: Iterable[str]) -> str:
    """Return the root over a set of pseudonyms, in hex."""
    return subtree(sorted({path_key(member) for member in members})).hex()


def descend(keys: Sequence[bytes], key: bytes, depth: int = 0) -> tuple[list[bytes], bytes | None]:
    """Follow the path of `key` from `depth` down; return the siblings passed and the member it ends at, if any."""
    siblings: list[bytes] = []
    low, high = 0, len(keys)
    while high - low > 1:
        middle = _split(keys, depth, low, high)
        if bit(key, depth):
            siblings.append(subtree(keys, depth + 1, low, middle))
            low = middle
        else:
            siblings.append(subtree(keys, depth + 1, middle, high))
            high = middle
        depth += 1
    return siblings, keys[low] if high > low else None


class MembershipProof(ContractModel):
    """That a customer is under a root, or that they are not."""

    member: bool
    siblings: Annotated[tuple[Digest, ...], Field(max_length=KEY_BITS)]
    """Hashes beside the customer's path, from the root down."""
    other: Digest | None = None
    """Path key of the member at which the path of a customer who is none ends; None where it ends at nobody."""

    @model_validator(mode="after")
    def _members_end_at_themselves(self) -> Self:
        if self.member and self.other is not None:
            raise ValueError("the path of a member ends at no other")
        return self

    @classmethod
    def of(cls, key: bytes, siblings: Sequence[bytes], end: bytes | None) -> Self:
        """Return the proof for a path that passed `siblings` and ended at the member with key `end`, if any."""
        return cls(
            member=end == key,
            siblings=tuple(sibling.hex() for sibling in siblings),
            other=end.hex() if end is not None and end != key else None,
        )

    def verify(self, subject: str, root: str) -> bool:
        """Return whether the customer is a member, once the proof is found to lead to the root.

        No root has proofs of both for one customer, also none that was not made by these rules, unless SHA-256
        collides.

        Raises:
            ProofError: the proof does not lead from this customer to this root.
        """
        key = path_key(subject)
        depth = len(self.siblings)
        computed = self._end(key, depth)
        if self.siblings and bytes.fromhex(self.siblings[-1]) == EMPTY:
            raise ProofError("A membership proof goes deeper than its members demand; ask for it again.")
        for level, sibling in zip(range(depth - 1, -1, -1), reversed(self.siblings), strict=True):
            beside = bytes.fromhex(sibling)
            computed = node(beside, computed) if bit(key, level) else node(computed, beside)
        if computed.hex() != root:
            raise ProofError("A membership proof does not lead to the snapshot's root; ask for it again.")
        return self.member

    def _end(self, key: bytes, depth: int) -> bytes:
        """Return the hash at which the path of a key ends."""
        if self.member:
            return leaf(key)
        if self.other is None:
            return EMPTY
        other = bytes.fromhex(self.other)
        if other == key or any(bit(other, level) != bit(key, level) for level in range(depth)):
            raise ProofError("A membership proof ends at a member that does not lie on the customer's path.")
        return leaf(other)


def prove(members: Iterable[str], subject: str) -> MembershipProof:
    """Return the proof that a pseudonym is among others, or that it is not."""
    key = path_key(subject)
    return MembershipProof.of(key, *descend(sorted({path_key(member) for member in members}), key))


def _split(keys: Sequence[bytes], depth: int, low: int, high: int) -> int:
    """Return where the keys whose bit at `depth` is set begin."""
    byte, mask = depth >> 3, 0x80 >> (depth & 7)
    return bisect_left(keys, mask, low, high, key=lambda key: key[byte] & mask)
