"""The coordinator's side: from masked vectors and shares to the sum, and to nothing else."""

import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from numpy.typing import NDArray

from privacy.errors import SecureSumError, TamperedShareError, TooFewBrandsError
from privacy.secure_sum import shamir
from privacy.secure_sum.masks import Place, agree, mask
from privacy.secure_sum.scheme import KEY_BYTES, Advertisement, Ring, Scheme, Unmasking, UnmaskRequest


class Opener:
    """Opens the sums of one run.

    Args:
        scheme: what the run's brands agreed on.
        advertisements: those of all brands, whose signatures were checked.
    """

    def __init__(self, scheme: Scheme, advertisements: Iterable[Advertisement]) -> None:
        self._scheme = scheme
        self._peers = {one.brand: one for one in advertisements}

    def request(
        self, *, slot: int, context: bytes, present: frozenset[str], arrived: frozenset[str]
    ) -> UnmaskRequest:
        """Return what is asked of every brand that arrived.

        Raises:
            TooFewBrandsError: no brand would help to open the sum.
        """
        if len(arrived) < self._scheme.quorum:
            raise TooFewBrandsError(
                f"{len(arrived)} brands arrived and {self._scheme.quorum} are needed; repeat the round."
            )
        return UnmaskRequest(slot=slot, context=context, arrived=arrived, missing=present - arrived)

    def open(
        self,
        request: UnmaskRequest,
        masked: Mapping[str, NDArray[np.unsignedinteger]],
        unmaskings: Sequence[Unmasking],
        ring: Ring,
    ) -> NDArray[np.int64]:
        """Return the sum, shape (p,), over the brands that arrived.

        Args:
            request: what was asked.
            masked: the vectors of exactly the brands that arrived, each of shape (p,).
            unmaskings: answers of at least `threshold` brands.
            ring: where the vectors were masked.

        Raises:
            TooFewBrandsError: fewer brands answered.
            TamperedShareError: shares do not lead to what a brand committed to.
            SecureSumError: vectors are missing, or of different lengths or rings.
        """
        lengths = {vector.shape for vector in masked.values()}
        if (
            set(masked) != request.arrived
            or len(lengths) != 1
            or any(v.dtype != ring.type for v in masked.values())
        ):
            raise SecureSumError("The vectors are not one of each brand that arrived, all of one length.")
        seeds, keys = self._secrets(request, unmaskings)
        ((size,),) = lengths
        place = Place(self._scheme.run, request.slot, request.context, size, ring)
        total = np.zeros(size, dtype=ring.type)
        for vector in masked.values():
            total += vector
        for seed in seeds.values():
            total -= mask(seed, place)
        for missing, key in keys.items():
            private = X25519PrivateKey.from_private_bytes(key)
            for arrived in request.arrived:
                common = mask(agree(private, self._peers[arrived].slot_keys[request.slot]), place)
                if arrived < missing:
                    total -= common
                else:
                    total += common
        return ring.out_of(total)

    def _secrets(
        self, request: UnmaskRequest, unmaskings: Sequence[Unmasking]
    ) -> tuple[dict[str, bytes], dict[str, bytes]]:
        answers = {
            one.brand: one for one in unmaskings if one.slot == request.slot and one.brand in request.arrived
        }
        if len(answers) < self._scheme.threshold:
            raise TooFewBrandsError(
                f"{len(answers)} brands helped to open the sum and {self._scheme.threshold} are needed; "
                f"nothing was learned, repeat the round."
            )
        seeds = {brand: self._reconstruct(brand, answers, "seeds") for brand in sorted(request.arrived)}
        keys = {brand: self._reconstruct(brand, answers, "keys") for brand in sorted(request.missing)}
        for brand, seed in seeds.items():
            committed = self._peers[brand].commitments[request.slot]
            if not hmac.compare_digest(hashlib.sha256(seed).digest(), committed):
                raise TamperedShareError("Shares of a brand's seed do not lead to its commitment.")
        for brand, key in keys.items():
            public = X25519PrivateKey.from_private_bytes(key).public_key().public_bytes_raw()
            if public != self._peers[brand].slot_keys[request.slot]:
                raise TamperedShareError("Shares of a brand's key do not lead to the key that it advertised.")
        return seeds, keys

    def _reconstruct(self, brand: str, answers: Mapping[str, Unmasking], kind: str) -> bytes:
        shares = {}
        for name, answer in answers.items():
            given = (answer.seeds if kind == "seeds" else answer.keys).get(brand, b"")
            if len(given) == KEY_BYTES:
                shares[self._scheme.point(name)] = np.frombuffer(given, dtype=np.uint8)
        return shamir.reconstruct(shares, self._scheme.threshold).tobytes()
