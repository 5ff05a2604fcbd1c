"""When a release of a random part of the customers costs less than one of all of them.

Nothing in this product is sampled: every customer takes part in every round, and no amplification is claimed. A
release that is to be counted at less has to pass here, because the bounds hold for Poisson sampling alone (each
customer by a coin of their own) and for nobody who knows who was drawn. Batches of fixed size and shuffled passes
leak more than their Poisson formula says (Chua et al., "How private are DP-SGD implementations?", ICML 2024), and
a choice of brands is known to the coordinator that makes it.
"""

from dataclasses import dataclass
from enum import StrEnum

import dp_accounting
from dp_accounting.pld import PLDAccountant

from privacy.errors import AmplificationRefusedError


class Scheme(StrEnum):
    """How those were chosen whose sum is released."""

    EVERYONE = "everyone"
    POISSON = "poisson"
    SHUFFLED = "shuffled"
    FIXED_SIZE = "fixed_size"
    BRANDS = "brands"


@dataclass(frozen=True)
class Sampling:
    """Who was in a release.

    Args:
        scheme: how they were chosen.
        rate: chance of each customer, in (0, 1]; 1 for everyone.
        secret: whether nobody who sees the release knows who was chosen, the number of them included.
    """

    scheme: Scheme
    rate: float
    secret: bool

    def require_amplifying(self) -> None:
        """Refuse what must not be counted at less than a release of everyone.

        Raises:
            AmplificationRefusedError: the sampling is not Poisson, or not secret, or the rate is none.
        """
        if self.scheme is not Scheme.POISSON:
            raise AmplificationRefusedError(
                f"Sampling by {self.scheme.value} gives no amplification; count the release as one of everyone."
            )
        if not self.secret:
            raise AmplificationRefusedError(
                "Whoever sees the release knows who was in it; count it as one of everyone."
            )
        if not 0 < self.rate <= 1:
            raise AmplificationRefusedError(f"A sampling rate is in (0, 1], not {self.rate}.")


def sampled_epsilon(noise_multiplier: float, sampling: Sampling, releases: int, delta: float) -> float:
    """Return what equal releases of Poisson samples cost together, for one customer more or less.

    Args:
        noise_multiplier: standard deviation of the noise over the sensitivity.
        sampling: who was in each.
        releases: how many.
        delta: at this delta.

    Raises:
        AmplificationRefusedError: the sampling gives no amplification.
    """
    sampling.require_amplifying()
    event = dp_accounting.PoissonSampledDpEvent(sampling.rate, dp_accounting.GaussianDpEvent(noise_multiplier))
    return float(PLDAccountant().compose(event, releases).get_epsilon(delta))
