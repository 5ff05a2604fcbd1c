"""The five brands of the laboratory: their sizes, channels and kinds of customers."""

from dataclasses import dataclass
from typing import Literal

REGIONS = ("north", "south", "east", "west", "islands")
TIERS = ("basic", "silver", "gold")


@dataclass(frozen=True, slots=True)
class BrandProfile:
    """What a brand is like; means are per customer with average engagement."""

    name: str
    customers: int
    base_rate: float
    """Share that orders within the horizon without any treatment."""
    sessions: float
    """Visits in the 120 days before the cut-off."""
    app_share: float
    """Share of visits that happen in the app; 0 for a brand without one."""
    receipts: float
    """Receipts in 180 days; 0 for a brand without shops."""
    emails: float
    """E-mails sent in 90 days."""
    basket: float
    """Median basket."""
    engagement: float
    """Shift of the customers' engagement, in standard deviations."""
    deal_share: float
    """Mean share of orders made with a discount."""
    regions: tuple[float, float, float, float, float]
    """Mix over `REGIONS`."""
    receipts_form: Literal["csv", "parquet"] = "csv"


FIVE_BRANDS = (
    BrandProfile("fashion", 6000, 0.15, 3.2, 0.35, 0.9, 5.0, 60.0, 0.1, 0.45, (0.3, 0.25, 0.2, 0.2, 0.05)),
    BrandProfile("grocery", 4000, 0.19, 1.8, 0.6, 3.4, 3.5, 32.0, 0.3, 0.3, (0.2, 0.2, 0.3, 0.2, 0.1), "parquet"),
    BrandProfile("electronics", 2500, 0.11, 3.6, 0.0, 0.0, 4.5, 180.0, -0.2, 0.35, (0.4, 0.2, 0.2, 0.15, 0.05)),
    BrandProfile("travel", 1500, 0.10, 3.4, 0.45, 0.0, 4.0, 420.0, -0.3, 0.25, (0.25, 0.15, 0.2, 0.25, 0.15)),
    BrandProfile("beauty", 800, 0.16, 3.0, 0.0, 1.6, 6.0, 38.0, 0.0, 0.4, (0.15, 0.35, 0.25, 0.2, 0.05)),
)
