"""A brand's side: prepare a run's slots, mask one vector a slot, and help to open its sum once."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Self

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from numpy.typing import NDArray

from privacy.errors import SecureSumError, TamperedShareError, TooFewBrandsError
from privacy.randomness import RandomBytes
from privacy.secure_sum import shamir
from privacy.secure_sum.masks import Place, agree, derive, keystream, mask
from privacy.secure_sum.scheme import (
    KEY_BYTES,
    Advertisement,
    Ring,
    Scheme,
    SealedShares,
    Unmasking,
    UnmaskRequest,
)
from privacy.secure_sum.state import MemberState, Slot, Stage

NONCE = bytes(12)
"""A box key encrypts one message alone, so its nonce need not differ."""


class Member:
    """One brand in a run.

    Everything that it draws follows from one secret, so that what is repeated after a restart is the same bytes.
    It is ahead of what is stored until the caller has stored its state or slot: where that fails, drop it and
    restore another.

    Args:
        scheme: what the run's brands agreed on.
        brand: its name.
        random_bytes: a CSPRNG.
    """

    def __init__(self, scheme: Scheme, brand: str, random_bytes: RandomBytes) -> None:
        self._scheme = scheme
        self._brand = brand
        self._point = scheme.point(brand)
        self._secret = random_bytes(KEY_BYTES)
        if len(self._secret) != KEY_BYTES:
            raise SecureSumError(f"A brand's secret of a run has {KEY_BYTES} bytes.")
        drawn = keystream(self._secret, scheme.run, b"member", KEY_BYTES * (2 * scheme.slots + 1))
        pieces = [drawn[start : start + KEY_BYTES] for start in range(0, len(drawn), KEY_BYTES)]
        self._box = X25519PrivateKey.from_private_bytes(pieces[0])
        self._seeds, self._keys = pieces[1 : scheme.slots + 1], pieces[scheme.slots + 1 :]
        self._peers: Mapping[str, Advertisement] = {}
        self._held: Mapping[str, bytes] = {}
        self._slots: dict[int, Slot] = {}

    @classmethod
    def restore(
        cls, scheme: Scheme, brand: str, state: MemberState, slots: Mapping[int, Slot] | None = None
    ) -> Self:
        """Return the member that a state and the slots that were used came from.

        Raises:
            SecureSumError: they are not of this run.
        """
        member = cls(scheme, brand, lambda _size: state.secret)
        if state.peers:
            member._meet(state.peers)
        if state.held:
            member._keep(state.held)
        member._slots = dict(slots or {})
        return member

    def state(self) -> MemberState:
        """Return what has to be stored before the brand answers, but for its slots; secret."""
        return MemberState(self._secret, tuple(self._peers.values()), dict(self._held))

    def slot(self, number: int) -> Slot:
        """Return what became of a slot, to be stored before anything of it leaves.

        Raises:
            SecureSumError: the run has no such slot.
        """
        if not 0 <= number < self._scheme.slots:
            raise SecureSumError("The run has no such slot; start another run.")
        return self._slots.get(number, Slot())

    def advertise(self) -> Advertisement:
        """Return what the brand publishes and signs before the run."""
        return self._advertisement

    @cached_property
    def _advertisement(self) -> Advertisement:
        return Advertisement(
            brand=self._brand,
            box_key=self._box.public_key().public_bytes_raw(),
            slot_keys=tuple(_public(key) for key in self._keys),
            commitments=tuple(hashlib.sha256(seed).digest() for seed in self._seeds),
        )

    def share(self, advertisements: Iterable[Advertisement]) -> list[SealedShares]:
        """Return this brand's shares for every brand, its own included, each encrypted to its receiver.

        They are the same whenever it is asked.

        Args:
            advertisements: those of all brands, whose signatures by enrolled keys were checked.

        Raises:
            SecureSumError: one is missing, doubled, or not of the run's length; this brand's is not its own; or
                others were shared for before.
        """
        self._meet(advertisements)
        secrets = np.frombuffer(b"".join(self._seeds + self._keys), dtype=np.uint8)
        points = range(1, len(self._scheme.brands) + 1)
        shares = shamir.share(secrets, self._scheme.threshold, points, self._coefficients)
        return [
            SealedShares(
                self._brand, receiver, self._cipher(self._brand, receiver).encrypt(NONCE, row.tobytes(), None)
            )
            for receiver, row in zip(self._scheme.brands, shares, strict=True)
        ]

    def receive(self, sealed: Iterable[SealedShares]) -> None:
        """Keep the shares of all brands for this one.

        Raises:
            SecureSumError: some brand's are missing, doubled, or for somebody else.
            TamperedShareError: one was altered on its way, or is not of the run's length.
        """
        held: dict[str, bytes] = {}
        for one in sealed:
            if one.receiver != self._brand or one.sender in held:
                raise SecureSumError("Shares are for another brand, or came twice.")
            try:
                held[one.sender] = self._cipher(one.sender, self._brand).decrypt(NONCE, one.ciphertext, None)
            except InvalidTag:
                raise TamperedShareError(
                    "A brand's shares were altered on their way; start the run anew."
                ) from None
        self._keep(held)

    def mask(
        self, values: NDArray[np.int64], *, slot: int, context: bytes, ring: Ring, present: frozenset[str]
    ) -> NDArray[np.unsignedinteger]:
        """Return a vector, shape (p,), that looks uniform until it is summed with those of all present brands.

        Args:
            values: the brand's noised sum, shape (p,).
            slot: a slot that was never used.
            context: digest of the signed manifest.
            ring: where the sum does not wrap.
            present: the manifest's brands, this one included.

        Raises:
            SecureSumError: the slot was used, the run is not set up, or too few brands are present.
        """
        self._require(slot, Stage.FRESH)
        if self._brand not in present or not present <= set(self._scheme.brands) or not self._held:
            raise SecureSumError("The slot's brands are not the run's, or the run is not set up.")
        if len(present) < self._scheme.quorum:
            raise TooFewBrandsError("Too few brands are present to ever open the sum; nothing leaves.")
        self._slots[slot] = Slot(Stage.MASKED, context, present)
        place = Place(self._scheme.run, slot, context, values.size, ring)
        masked = ring.into(values)
        masked += mask(self._seeds[slot], place)
        key = X25519PrivateKey.from_private_bytes(self._keys[slot])
        for other in sorted(present - {self._brand}):
            common = mask(agree(key, self._peers[other].slot_keys[slot]), place)
            if self._brand < other:
                masked += common
            else:
                masked -= common
        return masked

    def unmask(self, request: UnmaskRequest) -> Unmasking:
        """Return the shares that open a slot's sum: the same for the same request, and for no other.

        Raises:
            SecureSumError: the slot was not masked or was opened for others, another manifest is named, the two
                lists overlap or are not the slot's brands, or this brand is said to be missing.
            TooFewBrandsError: fewer arrived than the run's quorum, so that the sum would have too little noise.
        """
        slot = self.slot(request.slot)
        if slot.stage is not Stage.OPENED or slot.arrived != request.arrived:
            self._require(request.slot, Stage.MASKED)
        if request.context != slot.context:
            raise SecureSumError("The request is about another manifest than the one that was masked for.")
        if request.arrived & request.missing or request.arrived | request.missing != slot.present:
            raise SecureSumError("A brand is said to be both there and missing, or the slot's brands are others.")
        if self._brand not in request.arrived:
            raise SecureSumError("This brand is said to be missing; it can not help to open its own mask.")
        if len(request.arrived) < self._scheme.quorum:
            raise TooFewBrandsError(
                f"{len(request.arrived)} brands arrived and {self._scheme.quorum} are needed: the sum would have "
                f"less noise than is accounted for."
            )
        self._slots[request.slot] = replace(slot, stage=Stage.OPENED, arrived=request.arrived)
        return Unmasking(
            brand=self._brand,
            slot=request.slot,
            seeds={brand: self._share_of(brand, request.slot) for brand in request.arrived},
            keys={brand: self._share_of(brand, self._scheme.slots + request.slot) for brand in request.missing},
        )

    def _share_of(self, brand: str, place: int) -> bytes:
        return self._held[brand][place * KEY_BYTES : (place + 1) * KEY_BYTES]

    def _require(self, number: int, stage: Stage) -> Slot:
        slot = self.slot(number)
        if slot.stage is not stage:
            raise SecureSumError(f"The slot is {slot.stage.name.lower()}, and it had to be {stage.name.lower()}.")
        return slot

    def _meet(self, advertisements: Iterable[Advertisement]) -> None:
        peers = _complete(self._scheme, advertisements)
        if peers[self._brand] != self._advertisement:
            raise SecureSumError("What is said to be this brand's advertisement is not what it advertised.")
        if self._peers and peers != self._peers:
            raise SecureSumError("The run's brands were advertised otherwise before; start another run.")
        self._peers = peers

    def _keep(self, held: Mapping[str, bytes]) -> None:
        if not self._peers:
            raise SecureSumError("Shares came before the brands' advertisements.")
        if any(len(shares) != 2 * KEY_BYTES * self._scheme.slots for shares in held.values()):
            raise TamperedShareError("A brand's shares are not of the run's length; start the run without it.")
        if set(held) != set(self._scheme.brands):
            raise SecureSumError("Not all brands' shares are there; the run can not start.")
        if self._held and held != self._held:
            raise SecureSumError("Other shares were kept before; start another run.")
        self._held = dict(held)

    def _coefficients(self, size: int) -> bytes:
        return keystream(self._secret, self._scheme.run, b"coefficients", size)

    def _cipher(self, sender: str, receiver: str) -> ChaCha20Poly1305:
        if not self._peers:
            raise SecureSumError("Shares came before the brands' advertisements.")
        other = receiver if sender == self._brand else sender
        self._scheme.point(other)
        secret = agree(self._box, self._peers[other].box_key)
        purpose = f"shares/{len(sender)}/{sender}/{receiver}".encode()
        return ChaCha20Poly1305(derive(secret, self._scheme.run, purpose))


def _public(key: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(key).public_key().public_bytes_raw()


def _complete(scheme: Scheme, advertisements: Iterable[Advertisement]) -> dict[str, Advertisement]:
    found: dict[str, Advertisement] = {}
    for one in advertisements:
        lengths = {len(one.slot_keys), len(one.commitments)}
        if one.brand in found or lengths != {scheme.slots}:
            raise SecureSumError("A brand's advertisement came twice, or is not of the run's length.")
        found[one.brand] = one
    if set(found) != set(scheme.brands):
        raise SecureSumError("Not all brands of the run are advertised, or others are.")
    return found
