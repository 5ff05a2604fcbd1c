"""Which noise a simulation uses: the system's by default, a seed only on request and never silently."""

import hashlib

from privacy.randomness import NoiseSource, SeededNoise

NO_GUARANTEE = "Noise was drawn from a seed: this run is repeatable and carries NO privacy guarantee."


def noise_for(brand: str, seed: int | None) -> NoiseSource | None:
    """Return a brand's seeded noise, or None for the operating system's CSPRNG."""
    if seed is None:
        return None
    digest = hashlib.sha256(f"{seed}/{brand}".encode()).digest()
    return SeededNoise(int.from_bytes(digest[:8]))
