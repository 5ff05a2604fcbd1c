"""What an audit says of a run."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Audit:
    """What an audit of one run found.

    Attributes:
        claimed: epsilon that was approved for the run, at its delta.
        canaries: how many there were.
        one_run: lower bound at 95 % whatever the mechanism is.
        gaussian: lower bound at 95 % for Gaussian noise.
        too_small: chance of noise as small as that seen, if it is what was stated.
        repeated: chance of noise as alike between rounds as that seen, if it is fresh.
    """

    claimed: float
    canaries: int
    one_run: float
    gaussian: float
    too_small: float
    repeated: float

    def holds(self, significance: float = 1e-4) -> bool:
        """Tell whether nothing speaks against the claim."""
        within = max(self.one_run, self.gaussian) <= self.claimed
        return within and min(self.too_small, self.repeated) > significance
