"""Named arrays with one digest: how models, sums and solver states are pinned in signed values."""

import hashlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[np.float64] | NDArray[np.int64]]

_LITTLE_ENDIAN = {"f": "<f8", "i": "<i8"}


def arrays_digest(arrays: Arrays) -> str:
    """Return the SHA-256, in hex, over every array's name, kind, shape and little-endian bytes, by name.

    Raises:
        TypeError: an array is neither double precision nor 64-bit integer.
    """
    digest = hashlib.sha256(b"confide/v1/arrays\n")
    for name in sorted(arrays):
        array = arrays[name]
        if array.dtype not in (np.float64, np.int64):
            raise TypeError(f"Array {name!r} has dtype {array.dtype}; only float64 and int64 are signed.")
        digest.update(f"{name}\n{array.dtype.kind}\n{array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).astype(_LITTLE_ENDIAN[array.dtype.kind]).tobytes())
    return digest.hexdigest()
