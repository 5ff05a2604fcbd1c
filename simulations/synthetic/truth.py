"""The ground truth: who would order without treatment, and what each channel changes.

One law holds at all brands but for an offset; it reads the history as of the cut-off, so that it can be learned.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit

from consent.contract import Channel
from simulations.synthetic.histories import (
    ADD,
    CLICKED,
    DAY,
    EMAIL,
    OPENED,
    ORDER,
    PAGE,
    RECEIPT,
    SENT,
    VIEW,
    Customers,
    Events,
    Floats,
)

GAINS = {Channel.EMAIL: 0.8, Channel.SMS: 0.9, Channel.PUSH: 0.7, Channel.IN_APP: 0.6, Channel.ADS: 0.35}
"""Most that a contact over the channel adds to the log-odds of ordering."""
FATIGUE = 0.7
"""What a contact takes from the log-odds of a customer who had too many e-mails."""
MANY_EMAILS = 9

STEEPNESS = 0.85
"""How sharply the law tells customers apart; it sets the AUC that the best model can reach, about .83."""


@dataclass(frozen=True, eq=False)
class Facts:
    """What the law reads of each customer; the same quantities as the features of those names."""

    recency_days: Floats
    sessions_30d: Floats
    product_views_30d: Floats
    cart_adds_30d: Floats
    emails_90d: Floats
    email_open_rate_90d: Floats
    email_clicks_90d: Floats
    orders_90d: Floats
    spend_90d: Floats
    discount_share_365d: Floats
    tenure_days: Floats


def facts(customers: Customers, events: Events) -> Facts:
    """Count each customer's history; missing quantities are NaN."""
    n = len(customers.engagement)
    month, quarter = events.age <= 30 * DAY, events.age <= 90 * DAY

    def count(rows: NDArray[np.bool_], weights: Floats | None = None) -> Floats:
        chosen = None if weights is None else weights[rows]
        return np.bincount(events.customer[rows], chosen, minlength=n).astype(np.float64)

    orders = np.isin(events.what, (ORDER, RECEIPT))
    recency = np.full(n, np.inf)
    visits = events.source != EMAIL
    np.minimum.at(recency, events.customer[visits], events.age[visits] / DAY)
    sent = count((events.what == SENT) & quarter)
    paid, saved = count(orders, events.value), count(orders, events.discount)
    with np.errstate(invalid="ignore", divide="ignore"):
        open_rate = np.minimum(count((events.what == OPENED) & quarter) / sent, 1.0)
        discount_share = saved / (paid + saved)
    return Facts(
        recency_days=np.where(np.isinf(recency), np.nan, recency),
        sessions_30d=count((events.what == PAGE) & month),
        product_views_30d=count((events.what == VIEW) & month),
        cart_adds_30d=count((events.what == ADD) & month),
        emails_90d=sent,
        email_open_rate_90d=np.where(sent > 0, open_rate, np.nan),
        email_clicks_90d=count((events.what == CLICKED) & quarter),
        orders_90d=count(orders & quarter),
        spend_90d=count(orders & quarter, events.value),
        discount_share_365d=discount_share,
        tenure_days=customers.tenure_days.astype(np.float64),
    )


def log_odds(customers: Customers, known: Facts, base_rate: float) -> Floats:
    """Return each customer's log-odds of ordering untreated, so that `base_rate` order on average."""
    tier = np.array([0.0, 0.4, 0.9, 0.2])[customers.tier]
    region = np.array([0.0, 0.25, -0.2, 0.1, -0.35, 0.0])[customers.region]
    recency = np.where(np.isnan(known.recency_days), 365.0, known.recency_days)
    fresh = np.exp(-recency / 12)
    wanting = 1 - np.exp(-0.9 * known.cart_adds_30d)
    score = (
        1.5 * fresh
        + 1.4 * wanting
        + 0.6 * wanting * fresh
        + 0.45 * np.log1p(known.product_views_30d)
        + 1.1 * np.nan_to_num(known.email_open_rate_90d)
        + 0.7 * (known.email_clicks_90d > 0)
        + 0.75 * np.log1p(np.minimum(known.orders_90d, 6))
        - 0.9 * (known.discount_share_365d > 0.2)
        + 0.8 * np.exp(-(((np.log(known.tenure_days) - np.log(60)) / 0.8) ** 2))
        + tier
        + region
    )
    offset = brentq(lambda shift: float(expit(STEEPNESS * score + shift).mean()) - base_rate, -30, 30)
    return np.asarray(STEEPNESS * score + offset, dtype=np.float64)


def effect(customers: Customers, known: Facts, channel: Channel) -> Floats:
    """Return what one contact over `channel` adds to each customer's log-odds; negative when over-contacted."""
    moved = GAINS[channel] * np.clip(2 * customers.persuadable - 0.5, 0, None)
    tired = FATIGUE * (known.emails_90d >= MANY_EMAILS)
    return np.asarray(moved - tired, dtype=np.float64)
