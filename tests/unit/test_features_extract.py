"""Each feature against a history worked out by hand."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from client.errors import FeatureError
from client.events import Event, EventStore, Kind, Source
from client.features import FEATURE_NAMES, CustomerTable, extract
from client.identity import IdentityGraph

CUTOFF = datetime(2026, 1, 1, tzinfo=UTC)
HORIZON = timedelta(days=30)


class History:
    """Builds one store event by event."""

    def __init__(self) -> None:
        self.store = EventStore(clock=lambda: CUTOFF + HORIZON)
        self._count = 0

    def add(self, source: Source, name: str, days: float, user: str = "ada", **more: Any) -> "History":
        """Add an event `days` before the cut-off."""
        self._count += 1
        fields = {"kind": Kind.TRACK, "at": CUTOFF - timedelta(days=days), "user_id": user, **more}
        event = Event(message_id=f"m{self._count}", source=source, name=name, **fields)
        assert self.store.add([event]).kept == 1
        return self

    def table(self, **options: Any) -> CustomerTable:
        """Extract as of the cut-off."""
        return extract(IdentityGraph(self.store), CUTOFF, **options)

    def features(self, **options: Any) -> dict[str, Any]:
        """Return the only customer's features."""
        table = self.table(**options)
        assert table.customers == ("ada",)
        return {name: column[0] for name, column in table.columns.items()}


@pytest.fixture
def history() -> Iterator[History]:
    history = History()
    yield history
    history.store.close()


def test_every_feature_of_a_full_history(history: History) -> None:
    history.add(
        Source.CRM,
        "Customer Updated",
        200,
        kind=Kind.IDENTIFY,
        properties={"tier": "basic", "region": "north", "created_at": "2025-01-01T00:00:00Z"},
    )
    history.add(
        Source.CRM,
        "Customer Updated",
        50,
        kind=Kind.IDENTIFY,
        properties={"tier": "gold", "region": None, "created_at": "2025-01-01T00:00:00Z"},
    )
    for days in (2.0, 2.0 - 29 / 1440, 1.0, 31.0):
        history.add(Source.WEB, "Product Viewed", days)
    history.add(Source.WEB, "Product Added", 1.0)
    history.add(Source.WEB, "Order Completed", 40, value=80.0, properties={"discount": 20})
    history.add(Source.POS, "Order Completed", 100, value=50.0, properties={"discount": "10.5"})
    history.add(Source.POS, "Order Completed", 400, value=1000.0)
    for days, name in ((10, "Sent"), (9, "Sent"), (8, "Opened"), (8, "Clicked"), (95, "Sent")):
        history.add(Source.EMAIL, f"Email {name}", days)
    found = history.features()
    assert tuple(found) == FEATURE_NAMES
    expected = {
        "recency_days": 1.0,
        "sessions_30d": 2,
        "product_views_30d": 3,
        "cart_adds_30d": 1,
        "channels_90d": 2,
        "email_open_rate_90d": 0.5,
        "email_clicks_90d": 1,
        "orders_90d": 1,
        "spend_90d": 80.0,
        "average_basket_365d": 65.0,
        "discount_share_365d": 30.5 / 160.5,
        "tenure_days": 365.0,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert (found["tier"], found["region"], found["preferred_channel"]) == ("gold", "north", "web")


def test_what_is_not_known_is_missing_and_what_did_not_happen_is_zero(history: History) -> None:
    found = history.add(Source.CRM, "Customer Updated", 5, kind=Kind.IDENTIFY).features()
    missing = {"recency_days", "email_open_rate_90d", "average_basket_365d", "discount_share_365d", "tenure_days"}
    for name in FEATURE_NAMES[:12]:
        assert np.isnan(found[name]) == (name in missing), name
        assert name in missing or found[name] == 0, name
    assert found["tier"] is None
    assert found["preferred_channel"] is None


def test_a_late_event_joins_two_visits_into_one_session(history: History) -> None:
    history.add(Source.WEB, "Page", 1.0).add(Source.WEB, "Page", 1.0 - 50 / 1440)
    assert history.features()["sessions_30d"] == 2
    assert history.add(Source.WEB, "Page", 1.0 - 25 / 1440).features()["sessions_30d"] == 1


def test_a_visit_that_spans_thirty_minutes_and_more_is_two_sessions(history: History) -> None:
    history.add(Source.WEB, "Page", 1.0).add(Source.WEB, "Page", 1.0 - 30 / 1440)
    assert history.features()["sessions_30d"] == 1, "a gap of 30 minutes exactly continues the session"
    history.add(Source.WEB, "Page", 1.0 - 30 / 1440 - 31 / 1440)
    assert history.features()["sessions_30d"] == 2


@pytest.mark.parametrize(("days", "label"), [(0.0, 0), (-0.001, 1), (-30.0, 1), (-30.001, 0), (5.0, 0)])
def test_the_label_is_an_order_within_the_horizon(history: History, days: float, label: int) -> None:
    history.add(Source.WEB, "Page", 3).add(Source.POS, "Order Completed", days, value=1.0)
    table = history.table(horizon=HORIZON)
    assert table.labels is not None
    assert (table.labels.dtype, table.labels.tolist()) == (np.int8, [label])


def test_without_a_horizon_there_is_no_label(history: History) -> None:
    assert history.add(Source.WEB, "Page", 3).table().labels is None


def test_a_customer_renamed_after_the_cutoff_keeps_the_label(history: History) -> None:
    history.add(Source.WEB, "Page", 3)
    history.add(Source.WEB, "Alias", -1, kind=Kind.ALIAS, user="ada-new", previous_id="ada")
    history.add(Source.POS, "Order Completed", -2, user="ada", value=1.0)
    table = history.table(horizon=HORIZON)
    assert table.labels is not None
    assert (table.customers, table.labels.tolist()) == (("ada",), [1])


def test_a_store_without_events_gives_an_empty_table(history: History) -> None:
    table = history.table(horizon=HORIZON)
    assert len(table) == 0
    assert set(table.columns) == set(FEATURE_NAMES)


def test_a_table_selects_by_mask_and_by_position() -> None:
    table = CustomerTable(
        ("a", "b", "c"), {"x": np.array([1.0, 2.0, 3.0])}, labels=np.array([0, 1, 0], dtype=np.int8)
    )
    masked, picked = table.select(np.array([True, False, True])), table.select(np.array([2, 0]))
    assert (masked.customers, picked.customers) == (("a", "c"), ("c", "a"))
    assert picked.columns["x"].tolist() == [3.0, 1.0]
    assert masked.labels is not None
    assert masked.labels.tolist() == [0, 0]


def test_a_table_with_columns_of_different_lengths_is_refused() -> None:
    with pytest.raises(FeatureError, match="x"):
        CustomerTable(("a", "b"), {"x": np.array([1.0])})
