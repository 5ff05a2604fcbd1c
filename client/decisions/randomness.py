"""Uniform numbers for exploration, from the operating system's CSPRNG unless a test injects others."""

import os
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Uniforms = Callable[[int], NDArray[np.float64]]
"""Returns n independent draws from [0, 1)."""


def os_uniforms(n: int) -> NDArray[np.float64]:
    """Draw `n` multiples of 2**-53 in [0, 1)."""
    words = np.frombuffer(os.urandom(8 * n), dtype=np.uint64) >> np.uint64(11)
    return words.astype(np.float64) * np.float64(2.0**-53)
