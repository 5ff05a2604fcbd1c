"""A sum over brands of which the coordinator learns the total and nothing else.

Double masking with shared seeds (Bonawitz et al., "Practical secure aggregation for privacy-preserving machine
learning", CCS 2017, protocol of figure 4), set up once a run: for each of a run's slots (a slot is one attempt at
one round) a brand draws a seed of its own and a key pair, commits to both, and shares both among the brands. In a
slot it adds a mask from its own seed and one with every other brand, which cancel in the sum. Of a brand that
arrived the shares of its seed are asked for, of one that did not those of its key; a brand answers once a slot, so
that never both can be had while the threshold is over half of all brands and colluders together.
"""

from privacy.secure_sum.brand import Member
from privacy.secure_sum.opening import Opener
from privacy.secure_sum.scheme import (
    Advertisement,
    Ring,
    Scheme,
    SealedShares,
    Unmasking,
    UnmaskRequest,
    largest_sum,
)
from privacy.secure_sum.state import MemberState, Slot, Stage

__all__ = [
    "Advertisement",
    "Member",
    "MemberState",
    "Opener",
    "Ring",
    "Scheme",
    "SealedShares",
    "Slot",
    "Stage",
    "UnmaskRequest",
    "Unmasking",
    "largest_sum",
]
