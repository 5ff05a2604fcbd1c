"""Five synthetic brands with known ground truth: real files to take in, and potential outcomes to judge by."""

from simulations.synthetic.brand import CUTOFF, SyntheticBrand, generate
from simulations.synthetic.profiles import FIVE_BRANDS, BrandProfile
from simulations.synthetic.task import (
    CONVERSION_FEATURES,
    DECISION_PURPOSE,
    HORIZON_DAYS,
    NOTICES,
    PURPOSES,
    TRAINING_PURPOSE,
    conversion_task,
)

__all__ = [
    "CONVERSION_FEATURES",
    "CUTOFF",
    "DECISION_PURPOSE",
    "FIVE_BRANDS",
    "HORIZON_DAYS",
    "NOTICES",
    "PURPOSES",
    "TRAINING_PURPOSE",
    "BrandProfile",
    "SyntheticBrand",
    "conversion_task",
    "generate",
]
