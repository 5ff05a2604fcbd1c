"""The tree of one cohort, kept so that a few changes cost a few hashes.

The top of the tree is kept hash by hash, down to buckets of a few members each; below, a bucket's members are
hashed anew when one of them comes or goes. A tree never changes: with changes it is another tree, which shares
the buckets that are the same, so that whoever holds one reads it in peace.
"""

from array import array
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from consent.contract import MembershipProof
from consent.contract.membership import EMPTY, bit, descend, node, path_key, subtree

MOST_BITS = 16
BUCKET_MEMBERS = 8
"""Members of a bucket that are aimed at."""
WIDTH = 32


@dataclass(frozen=True, eq=False)
class MemberTree:
    """A compact sparse Merkle tree as `consent.contract.membership` defines it.

    Args:
        bits: depth of the buckets, 0 to 16.
        buckets: per bucket, its members' sorted path keys in one run of bytes.
        hashes: 32 bytes per subtree above the buckets, theirs included, as a heap whose root is number 1.
        counts: how many members each of these subtrees has.
    """

    bits: int
    buckets: list[bytes]
    hashes: bytearray
    counts: "array[int]"

    @classmethod
    def build(cls, keys: Sequence[bytes], *, bits: int | None = None) -> Self:
        """Build the tree over sorted and distinct path keys."""
        if bits is None:
            bits = min(MOST_BITS, max(0, (len(keys) // BUCKET_MEMBERS).bit_length()))
        size = 1 << bits
        tree = cls(bits, [b""] * size, bytearray(2 * size * WIDTH), array("Q", bytes(2 * size * 8)))
        start = 0
        for number in range(size):
            end = bisect_left(keys, number + 1, start, key=lambda key: _bucket(key, bits))
            tree._fill(number, keys[start:end])
            start = end
        for place in range(size - 1, 0, -1):
            tree._join(place)
        return tree

    @property
    def root(self) -> str:
        """The root, in hex."""
        return self._hash(1).hex()

    @property
    def members(self) -> int:
        """How many members there are."""
        return self.counts[1]

    @property
    def crowded(self) -> bool:
        """Whether it outgrew its buckets, so that a tree built anew would be faster."""
        return self.bits < MOST_BITS and self.members > 4 * BUCKET_MEMBERS << self.bits

    def changed(self, *, come: Iterable[bytes], go: Iterable[bytes]) -> "MemberTree":
        """Return the tree with some path keys more and some less; who goes and comes at once goes."""
        changes: dict[int, dict[bytes, bool]] = defaultdict(dict)
        for keys, stays in ((come, True), (go, False)):
            for key in keys:
                changes[_bucket(key, self.bits)][key] = stays
        tree = MemberTree(self.bits, self.buckets.copy(), self.hashes.copy(), self.counts[:])
        for number, marks in changes.items():
            kept = [key for key in tree._keys(number) if key not in marks]
            tree._fill(number, sorted(kept + [key for key, stays in marks.items() if stays]))
        places = {(number + len(self.buckets)) >> 1 for number in changes} - {0}
        while places:
            for place in places:
                tree._join(place)
            places = {place >> 1 for place in places} - {0}
        return tree

    def prove(self, subject: str) -> MembershipProof:
        """Return the proof that a pseudonym is a member, or that it is none."""
        key = path_key(subject)
        place, siblings = 1, []
        for depth in range(self.bits):
            if self.counts[place] <= 1:
                break
            place = 2 * place + bit(key, depth)
            siblings.append(self._hash(place ^ 1))
        depth = place.bit_length() - 1
        first = (place << (self.bits - depth)) - len(self.buckets)
        below = range(first, first + (1 << (self.bits - depth)))
        keys = [one for number in below for one in self._keys(number)]
        more, end = descend(keys, key, depth)
        return MembershipProof.of(key, [*siblings, *more], end)

    def _keys(self, number: int) -> list[bytes]:
        bucket = self.buckets[number]
        return [bucket[start : start + WIDTH] for start in range(0, len(bucket), WIDTH)]

    def _fill(self, number: int, keys: Sequence[bytes]) -> None:
        place = len(self.buckets) + number
        self.buckets[number] = b"".join(keys)
        self.counts[place] = len(keys)
        self._set(place, subtree(keys, self.bits))

    def _join(self, place: int) -> None:
        """Work out a subtree from its two children."""
        left, right = self.counts[2 * place], self.counts[2 * place + 1]
        self.counts[place] = left + right
        if left + right > 1:
            self._set(place, node(self._hash(2 * place), self._hash(2 * place + 1)))
        else:
            self._set(place, self._hash(2 * place + (1 if right else 0)) if left + right else EMPTY)

    def _hash(self, place: int) -> bytes:
        return bytes(self.hashes[place * WIDTH : place * WIDTH + WIDTH])

    def _set(self, place: int, value: bytes) -> None:
        self.hashes[place * WIDTH : place * WIDTH + WIDTH] = value


def _bucket(key: bytes, bits: int) -> int:
    return int.from_bytes(key[:2], "big") >> (16 - bits)
