"""Consistency proofs as RFC 6962 defines them (section 2.1.2), which those that are made from tiles have to be."""

from collections.abc import Sequence

from consent.log.merkle import root_hash


def consistency_proof(leaves: Sequence[bytes], old_size: int) -> list[bytes]:
    """Return the proof that the first `old_size` leaves, at least one, are a prefix."""
    return _subproof(leaves, old_size, complete=True)


def _subproof(leaves: Sequence[bytes], old_size: int, *, complete: bool) -> list[bytes]:
    if old_size == len(leaves):
        return [] if complete else [root_hash(leaves)]
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    if old_size <= split:
        return [*_subproof(leaves[:split], old_size, complete=complete), root_hash(leaves[split:])]
    return [*_subproof(leaves[split:], old_size - split, complete=False), root_hash(leaves[:split])]
