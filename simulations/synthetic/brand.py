"""One synthetic brand: files as its systems would export them, and the truth that no brand ever has."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from client.events import Source
from client.features import CustomerTable
from consent.contract import Channel
from simulations.synthetic import truth
from simulations.synthetic.consents import draw_consents
from simulations.synthetic.files import FileWriter
from simulations.synthetic.histories import (
    APP,
    EMAIL,
    POS,
    WEB,
    draw_aftermath,
    draw_customers,
    draw_history,
    join,
)
from simulations.synthetic.profiles import BrandProfile
from simulations.synthetic.task import HORIZON_DAYS

CUTOFF = datetime(2025, 6, 1, tzinfo=UTC)
HELD_OUT_SHARE = 0.25


@dataclass(frozen=True, eq=False)
class SyntheticBrand:
    """A generated brand; `truth` is each customer's probability of ordering within the horizon, untreated."""

    profile: BrandProfile
    cutoff: datetime
    horizon_days: int
    sources: Mapping[Source, Path]
    """The files that intake reads."""
    consents: Path
    """NDJSON: `customer`, `purpose` or `channel`, `act`, and for a grant of a purpose the notice's key."""
    truth: Mapping[str, float]
    held_out: frozenset[str]
    """Customers for evaluation only; never train on them."""
    treated: Mapping[Channel, Mapping[str, float]] = field(repr=False)
    """Probability of ordering after one contact over a channel."""
    _luck: Mapping[str, float] = field(repr=False)

    @property
    def name(self) -> str:
        """The brand's name in contracts and folders."""
        return self.profile.name

    def probability(self, customer: str, action_channel: Channel | None) -> float:
        """Return the true probability of ordering after one contact, or untreated with None."""
        return self.truth[customer] if action_channel is None else self.treated[action_channel][customer]

    def outcome(self, customer: str, action_channel: Channel | None) -> bool:
        """Return whether the customer orders; all of a customer's outcomes share one random number."""
        return self._luck[customer] < self.probability(customer, action_channel)

    def split(self, table: CustomerTable) -> tuple[CustomerTable, CustomerTable]:
        """Return the rows to train on and the rows to evaluate on; ids without truth are in neither."""
        evaluation = np.array([customer in self.held_out for customer in table.customers], dtype=np.bool_)
        known = np.array([customer in self.truth for customer in table.customers], dtype=np.bool_)
        return table.select(known & ~evaluation), table.select(known & evaluation)


def generate(profile: BrandProfile, rng: np.random.Generator, folder: Path, scale: float = 1.0) -> SyntheticBrand:
    """Generate a brand of `scale` times its usual size and write its files into `folder`.

    The same generator state gives the same files, byte for byte.
    """
    folder.mkdir(parents=True, exist_ok=True)
    n = max(20, round(profile.customers * scale))
    ids = [f"{profile.name[:2]}{i:06d}" for i in range(n)]
    customers = draw_customers(profile, n, rng)
    history = draw_history(profile, customers, rng)
    known = truth.facts(customers, history)
    odds = truth.log_odds(customers, known, profile.base_rate)
    luck = rng.random(n)
    after = draw_aftermath(profile, customers, luck < expit(odds), HORIZON_DAYS, rng)
    writer = FileWriter(folder, CUTOFF, ids, rng)
    events = join(history, after)
    sources = {Source.CRM: writer.crm(customers), Source.EMAIL: writer.emails(events.take(events.source == EMAIL))}
    for source, code in ((Source.WEB, WEB), (Source.APP, APP)):
        if code == WEB or profile.app_share:
            visits = events.take(events.source == code)
            sources[source] = writer.visits(source.value, visits, customers, strangers=n // 5)
    if profile.receipts:
        sources[Source.POS] = writer.receipts(events.take(events.source == POS), profile.receipts_form)
    consents = writer.consents(draw_consents(ids, rng))
    writer.close()
    return SyntheticBrand(
        profile=profile,
        cutoff=CUTOFF,
        horizon_days=HORIZON_DAYS,
        sources=sources,
        consents=consents,
        truth=_by_customer(ids, expit(odds)),
        held_out=frozenset(np.array(ids, dtype=object)[rng.random(n) < HELD_OUT_SHARE].tolist()),
        treated={c: _by_customer(ids, expit(odds + truth.effect(customers, known, c))) for c in Channel},
        _luck=_by_customer(ids, luck),
    )


def _by_customer(ids: list[str], values: NDArray[np.float64]) -> dict[str, float]:
    return dict(zip(ids, values.tolist(), strict=True))
