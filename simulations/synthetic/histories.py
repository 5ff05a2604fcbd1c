"""Customers and what they did: latent traits first, then the events that follow from them."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from simulations.synthetic.profiles import REGIONS, BrandProfile

DAY = 86_400
VISIT_DAYS, RECEIPT_DAYS, EMAIL_DAYS = 120, 180, 90

PAGE, VIEW, ADD, ORDER, RECEIPT, SENT, OPENED, CLICKED = range(8)
WEB, APP, POS, EMAIL = range(4)

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Customers:
    """Traits of n customers; `tier` and `region` are codes, -1 where the CRM does not say."""

    engagement: Floats
    momentum: Floats
    deal: Floats
    mail: Floats
    persuadable: Floats
    tenure_days: Ints
    tier: Ints
    region: Ints
    anonymous: NDArray[np.bool_]
    """Customers whose visits were anonymous until they logged in at the last of them."""


@dataclass(frozen=True, eq=False)
class Events:
    """Events, one per position; `age` is seconds before the cut-off, negative after it."""

    customer: Ints
    age: Ints
    what: Ints
    source: Ints
    value: Floats
    discount: Floats

    def __len__(self) -> int:
        return len(self.customer)

    def take(self, rows: NDArray[np.bool_] | Ints) -> "Events":
        """Return some of the events."""
        return Events(*(getattr(self, f.name)[rows] for f in fields(self)))


def join(*parts: Events) -> Events:
    """Return all parts' events, one part after the other."""
    return Events(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Events)))


def draw_customers(profile: BrandProfile, n: int, rng: np.random.Generator) -> Customers:
    """Draw the traits of `n` customers."""
    engagement = rng.normal(profile.engagement, 1.0, n)
    loyalty = 0.6 * engagement + rng.normal(0, 0.8, n)
    tier = np.digitize(loyalty, (0.5, 1.4)).astype(np.int64)
    tier[rng.random(n) < 0.04] = -1
    region = rng.choice(len(REGIONS), n, p=profile.regions).astype(np.int64)
    region[rng.random(n) < 0.05] = -1
    return Customers(
        engagement=engagement,
        momentum=rng.normal(0, 1, n),
        deal=rng.beta(4 * profile.deal_share, 4 * (1 - profile.deal_share), n),
        mail=rng.normal(-0.6, 1.2, n),
        persuadable=rng.random(n),
        tenure_days=np.minimum(10 + rng.exponential(500, n), 3000).astype(np.int64),
        tier=tier,
        region=region,
        anonymous=rng.random(n) < 0.35,
    )


def draw_history(profile: BrandProfile, customers: Customers, rng: np.random.Generator) -> Events:
    """Draw everything that happened up to the cut-off."""
    parts = [_visits(profile, customers, rng), _emails(profile, customers, rng)]
    if profile.receipts:
        parts.append(_receipts(profile, customers, rng))
    return join(*parts)


def draw_aftermath(
    profile: BrandProfile,
    customers: Customers,
    converted: NDArray[np.bool_],
    horizon_days: int,
    rng: np.random.Generator,
) -> Events:
    """Draw what happened after the cut-off: one order of each who converted, and visits of anybody."""
    span = horizon_days * DAY
    buyers = np.flatnonzero(converted)
    shops = (rng.random(len(buyers)) < 0.5) & (profile.receipts > 0)
    value, discount = _baskets(profile, customers, buyers, rng)
    orders = Events(
        customer=buyers,
        age=-rng.integers(1, span, len(buyers)),
        what=np.where(shops, RECEIPT, ORDER),
        source=np.where(shops, POS, WEB),
        value=value,
        discount=discount,
    )
    visitors = np.flatnonzero(rng.random(len(converted)) < 0.5)
    return join(orders, _plain(visitors, -rng.integers(1, span, len(visitors)), VIEW, WEB))


def _visits(profile: BrandProfile, customers: Customers, rng: np.random.Generator) -> Events:
    counts = rng.poisson(profile.sessions * np.exp(0.65 * customers.engagement - 0.2))
    who = np.repeat(np.arange(len(counts)), counts)
    days = np.minimum(customers.tenure_days[who], VISIT_DAYS)
    spread = rng.random(len(who)) ** np.exp(0.4 * customers.momentum[who])
    start = (days * DAY * spread).astype(np.int64) + 2 * 3600
    source = np.where(rng.random(len(who)) < profile.app_share, APP, WEB)
    views = 1 + rng.poisson(0.8 * np.exp(0.2 * customers.engagement[who]))
    adds = rng.binomial(views, 0.14)
    bought = (adds > 0) & (rng.random(len(who)) < 0.3)
    parts = [_plain(who, start, PAGE, source)]
    for what, repeats, offset in ((VIEW, views, 60), (ADD, adds, 1200)):
        rows = np.repeat(np.arange(len(who)), repeats)
        order = np.arange(len(rows)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
        parts.append(_plain(who[rows], start[rows] - offset - 45 * order, what, source[rows]))
    value, discount = _baskets(profile, customers, who[bought], rng)
    parts.append(
        Events(
            customer=who[bought],
            age=start[bought] - 2400,
            what=np.full(bought.sum(), ORDER),
            source=source[bought],
            value=value,
            discount=discount,
        )
    )
    return join(*parts)


def _receipts(profile: BrandProfile, customers: Customers, rng: np.random.Generator) -> Events:
    counts = rng.poisson(profile.receipts * np.exp(0.5 * customers.engagement - 0.125))
    who = np.repeat(np.arange(len(counts)), counts)
    days = np.minimum(customers.tenure_days[who], RECEIPT_DAYS)
    value, discount = _baskets(profile, customers, who, rng)
    age = (days * DAY * rng.random(len(who))).astype(np.int64) + 3600
    return Events(who, age, np.full(len(who), RECEIPT), np.full(len(who), POS), value, discount)


def _emails(profile: BrandProfile, customers: Customers, rng: np.random.Generator) -> Events:
    counts = rng.poisson(profile.emails * np.exp(rng.normal(-0.125, 0.5, len(customers.mail))))
    who = np.repeat(np.arange(len(counts)), counts)
    days = np.minimum(customers.tenure_days[who], EMAIL_DAYS)
    age = (days * DAY * rng.random(len(who))).astype(np.int64) + 2 * 3600
    opened = rng.random(len(who)) < 1 / (1 + np.exp(-customers.mail[who]))
    clicked = opened & (rng.random(len(who)) < 0.25)
    return join(
        _plain(who, age, SENT, EMAIL),
        _plain(who[opened], age[opened] - 1800, OPENED, EMAIL),
        _plain(who[clicked], age[clicked] - 1900, CLICKED, EMAIL),
    )


def _baskets(
    profile: BrandProfile, customers: Customers, who: Ints, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    full = profile.basket * np.exp(rng.normal(0, 0.8, len(who)))
    cut = np.where(rng.random(len(who)) < customers.deal[who], rng.uniform(0.1, 0.4, len(who)), 0.0)
    return np.round(full * (1 - cut), 2), np.round(full * cut, 2)


def _plain(customer: Ints, age: Ints, what: int, source: int | Ints) -> Events:
    n = len(customer)
    return Events(
        customer, age, np.full(n, what), np.broadcast_to(source, n).copy(), np.full(n, np.nan), np.zeros(n)
    )
