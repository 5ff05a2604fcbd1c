"""A run of the secure sum among brands in one process."""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from privacy.randomness import RandomBytes
from privacy.secure_sum import Member, MemberState, Opener, Ring, Scheme, Stage, UnmaskRequest


@dataclass(frozen=True)
class SecureRun:
    """Members that have exchanged everything a run needs, and the coordinator's opener."""

    scheme: Scheme
    members: Mapping[str, Member]
    opener: Opener

    @property
    def brands(self) -> frozenset[str]:
        return frozenset(self.scheme.brands)

    def masked(
        self,
        values: Mapping[str, NDArray[np.int64]],
        *,
        slot: int = 0,
        ring: Ring | None = None,
        context: bytes | None = None,
    ) -> dict[str, NDArray[np.unsignedinteger]]:
        return {
            brand: self.members[brand].mask(
                vector,
                slot=slot,
                context=context or context_of(slot),
                ring=ring or Ring(32),
                present=self.brands,
            )
            for brand, vector in values.items()
        }

    def request(self, arrived: frozenset[str], *, slot: int = 0) -> UnmaskRequest:
        return self.opener.request(slot=slot, context=context_of(slot), present=self.brands, arrived=arrived)


def restarted(scheme: Scheme, brand: str, member: Member) -> Member:
    """Return the member as it is after it was stopped, from the bytes and slots that it had stored."""
    slots = {number: member.slot(number) for number in range(scheme.slots)}
    used = {number: slot for number, slot in slots.items() if slot.stage is not Stage.FRESH}
    return Member.restore(scheme, brand, MemberState.from_bytes(member.state().to_bytes()), used)


def context_of(slot: int) -> bytes:
    return hashlib.sha256(b"manifest %d" % slot).digest()


def secure_run(
    brands: int,
    *,
    colluding: int = 0,
    dropouts: int = 0,
    slots: int = 1,
    random_bytes: RandomBytes = secrets.token_bytes,
) -> SecureRun:
    """Set up a run."""
    names = tuple(f"brand-{number}" for number in range(brands))
    scheme = Scheme(hashlib.sha256(b"run").digest(), names, colluding, dropouts, slots)
    members = {name: Member(scheme, name, random_bytes) for name in names}
    advertised = [member.advertise() for member in members.values()]
    sealed = [one for member in members.values() for one in member.share(advertised)]
    for name, member in members.items():
        member.receive([one for one in sealed if one.receiver == name])
    return SecureRun(scheme, members, Opener(scheme, advertised))
