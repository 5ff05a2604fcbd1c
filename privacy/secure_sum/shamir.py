"""Shamir's secret sharing of byte strings: each byte over GF(2^8), as many secrets at once as there are.

Shamir, "How to share a secret", 1979; the field is that of AES (FIPS 197, section 4.2).
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from privacy.errors import SecureSumError
from privacy.randomness import RandomBytes

Bytes = NDArray[np.uint8]
ORDER = 255
MAX_SHARES = 255
_POLYNOMIAL = 0x11B
_GENERATOR = 3


def _tables() -> tuple[Bytes, NDArray[np.int64]]:
    powers = np.zeros(2 * ORDER, dtype=np.uint8)
    logarithms = np.zeros(256, dtype=np.int64)
    value = 1
    for exponent in range(ORDER):
        powers[exponent] = powers[exponent + ORDER] = value
        logarithms[value] = exponent
        value ^= value << 1
        if value > ORDER:
            value ^= _POLYNOMIAL
    return powers, logarithms


_POWERS, _LOGARITHMS = _tables()


def _products() -> tuple[bytes, ...]:
    """Return, for each factor, its product with every byte: `bytes.translate` multiplies faster than indexing."""
    everything = _POWERS[_LOGARITHMS[:, None] + _LOGARITHMS[None, :]]
    everything[0, :] = everything[:, 0] = 0
    return tuple(row.tobytes() for row in everything)


_PRODUCTS = _products()


def share(secrets: Bytes, threshold: int, points: Sequence[int], random_bytes: RandomBytes) -> Bytes:
    """Split secrets so that `threshold` of the shares give them back and fewer tell nothing.

    Args:
        secrets: shape (n,).
        threshold: shares that are needed, from 1 to the number of points.
        points: where the shares lie, distinct, from 1 to 255.
        random_bytes: a CSPRNG.

    Returns:
        Shares, shape (number of points, n), in the order of `points`.

    Raises:
        SecureSumError: the points or the threshold are not such.
    """
    if not 1 <= threshold <= len(set(points)) == len(points) or not set(points) <= set(range(1, MAX_SHARES + 1)):
        raise SecureSumError("Shares need distinct points from 1 to 255 and a threshold that they reach.")
    drawn = np.frombuffer(random_bytes((threshold - 1) * secrets.size), dtype=np.uint8)
    coefficients = drawn.reshape(threshold - 1, secrets.size)
    shares = np.zeros((len(points), secrets.size), dtype=np.uint8)
    for row, point in enumerate(points):
        for coefficient in coefficients:
            shares[row] = times(shares[row] ^ coefficient, point)
        shares[row] ^= secrets
    return shares


def reconstruct(shares: Mapping[int, Bytes], threshold: int) -> Bytes:
    """Return the secrets, shape (n,), from shares by their points.

    Raises:
        SecureSumError: there are fewer than `threshold`.
    """
    if len(shares) < threshold:
        raise SecureSumError(f"{threshold} shares are needed and there are {len(shares)}.")
    points = sorted(shares)[:threshold]
    secrets = np.zeros_like(shares[points[0]])
    for point in points:
        secrets ^= times(shares[point], _weight_at_zero(point, points))
    return secrets


def _weight_at_zero(point: int, points: Sequence[int]) -> int:
    """Return the product of other / (other - point) over the other points, Lagrange's weight at zero."""
    exponent = 0
    for other in points:
        if other != point:
            exponent += int(_LOGARITHMS[other]) - int(_LOGARITHMS[other ^ point])
    return int(_POWERS[exponent % ORDER])


def times(values: Bytes, factor: int) -> Bytes:
    """Return the product of each byte, shape (n,), with one factor, in the field."""
    return np.frombuffer(values.tobytes().translate(_PRODUCTS[factor]), dtype=np.uint8)
