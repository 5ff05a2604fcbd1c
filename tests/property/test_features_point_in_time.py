"""What happens after the cut-off changes no feature, and one customer alone gets the same features as all."""

from datetime import UTC, datetime, timedelta

import numpy as np
from depth import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from client.events import Event, EventStore, Kind, Source
from client.features import CustomerTable, extract
from client.identity import IdentityGraph

CUTOFF = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = (
    "Product Viewed",
    "Product Added",
    "Order Completed",
    "Email Sent",
    "Email Opened",
    "Email Clicked",
    "Customer Updated",
)


@st.composite
def events(draw: st.DrawFn, *, after: bool) -> list[Event]:
    """Draw events of three customers on two devices, all at most 400 days before the cut-off or all after it."""
    made = []
    for index in range(draw(st.integers(0, 12))):
        seconds = draw(st.integers(1, 20 * 86_400) if after else st.integers(-400 * 86_400, 0))
        kind = draw(st.sampled_from(Kind))
        user = draw(st.sampled_from(["u1", "u2", "u3"]))
        device = draw(st.sampled_from(["d1", "d2", None]))
        known = kind == Kind.ALIAS or device is None or draw(st.booleans())
        made.append(
            Event(
                message_id=f"{'after' if after else 'before'}-{index}",
                source=draw(st.sampled_from(Source)),
                kind=kind,
                name=draw(st.sampled_from(NAMES)),
                user_id=user if known else None,
                anonymous_id=device,
                previous_id=draw(st.sampled_from(["u1", "u2", "d1"])) if kind == Kind.ALIAS else None,
                at=CUTOFF + timedelta(seconds=seconds),
                value=draw(st.sampled_from([1.0, 20.0, 1e6])),
                properties={"tier": draw(st.sampled_from(["gold", "basic"])), "discount": 3},
            )
        )
    return made


def features(store: EventStore, customers: tuple[str, ...] | None = None) -> CustomerTable:
    return extract(IdentityGraph(store), CUTOFF, customers=customers)


def same(left: CustomerTable, right: CustomerTable) -> bool:
    if left.customers != right.customers:
        return False
    return all(
        np.array_equal(column, right.columns[name], equal_nan=column.dtype == np.float64)
        for name, column in left.columns.items()
    )


@settings(max_examples=examples(5, 12), deadline=None)
@given(before=events(after=False), after=events(after=True))
def test_nothing_after_the_cutoff_changes_a_feature(before: list[Event], after: list[Event]) -> None:
    store = EventStore(clock=lambda: CUTOFF + timedelta(days=30))
    store.add(before)
    known = features(store)
    store.add(after)
    assert same(features(store), known)
    store.close()


@settings(max_examples=examples(3, 6), deadline=None)
@given(before=events(after=False))
def test_one_customer_alone_gets_the_features_of_the_batch(before: list[Event]) -> None:
    store = EventStore(clock=lambda: CUTOFF)
    store.add(before)
    batch = features(store)
    for position, customer in enumerate(batch.customers):
        assert same(features(store, (customer,)), batch.select(np.array([position])))
    store.close()
