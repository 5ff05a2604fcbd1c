"""Point-in-time features: what a brand knew of each customer as of a moment, written once in Ibis."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import ibis
import ibis.expr.types as ir
import numpy as np
from numpy.typing import NDArray

from client.events.event import (
    EMAIL_CLICKED,
    EMAIL_OPENED,
    EMAIL_SENT,
    ORDER_COMPLETED,
    PRODUCT_ADDED,
    PRODUCT_VIEWED,
    Source,
)
from client.features.table import Column, CustomerTable
from client.identity import IdentityGraph, utc_naive

SESSION_GAP = timedelta(minutes=30)
"""Silence that ends a session: the rule of the web analytics field."""
MONTH, QUARTER, YEAR = 30, 90, 365
"""Windows of the features, in days before the cut-off."""

NUMERIC_NAMES = (
    "recency_days",
    "sessions_30d",
    "product_views_30d",
    "cart_adds_30d",
    "channels_90d",
    "email_open_rate_90d",
    "email_clicks_90d",
    "orders_90d",
    "spend_90d",
    "average_basket_365d",
    "discount_share_365d",
    "tenure_days",
)
CATEGORICAL_NAMES = ("tier", "region", "preferred_channel")
FEATURE_NAMES = (*NUMERIC_NAMES, *CATEGORICAL_NAMES)

_VISITS = (Source.WEB.value, Source.APP.value)
_ACTIVE = (*_VISITS, Source.POS.value)


def extract(
    graph: IdentityGraph,
    cutoff: datetime,
    *,
    horizon: timedelta | None = None,
    customers: Sequence[str] | None = None,
) -> CustomerTable:
    """Compute every customer's features from events up to and including `cutoff`, sorted by customer id.

    With a `horizon` the label is 1 for customers with an order in `(cutoff, cutoff + horizon]`. With
    `customers` only those are computed, by the same expressions: the path that deciding takes. One without
    any event has no row.
    """
    history = graph.resolved(cutoff)
    history = history.filter(history.customer.notnull())
    if customers is not None:
        history = history.filter(history.customer.isin(list(customers)))
    moment = utc_naive(cutoff)
    parts = (_sessions(history, moment), _attributes(history, moment), _preferred(history, moment))
    joined = _join(_totals(history, moment), *parts)
    frame = joined.mutate(sessions_30d=joined.sessions_30d.fill_null(0)).order_by("customer").to_pyarrow()
    ids = tuple(frame["customer"].to_pylist())
    columns: dict[str, Column] = {
        name: frame[name].cast("float64").to_numpy().astype(np.float64) for name in NUMERIC_NAMES
    }
    columns |= {name: np.array(frame[name].to_pylist(), dtype=object) for name in CATEGORICAL_NAMES}
    labels = None if horizon is None else _labels(graph, cutoff, horizon, ids)
    return CustomerTable(customers=ids, columns=columns, labels=labels, merged=graph.merged(cutoff))


def _totals(history: ir.Table, moment: datetime) -> ir.Table:
    age = _age_days(history, moment)
    order = history.name == ORDER_COMPLETED
    recent, quarter, year = age <= MONTH, age <= QUARTER, age <= YEAR
    sent = _count((history.name == EMAIL_SENT) & quarter)
    opened = _count((history.name == EMAIL_OPENED) & quarter)
    discount = _number(history.properties["discount"]).fill_null(0.0).clip(lower=0.0)
    paid = history["value"].sum(where=order & year)
    saved = discount.sum(where=order & year)
    return history.group_by("customer").aggregate(
        recency_days=age.min(where=history.source.isin(_ACTIVE)),
        product_views_30d=_count((history.name == PRODUCT_VIEWED) & recent),
        cart_adds_30d=_count((history.name == PRODUCT_ADDED) & recent),
        channels_90d=history.source.nunique(where=quarter & (history.source != Source.CRM.value)),
        email_open_rate_90d=(opened / sent.nullif(0)).clip(upper=1.0),
        email_clicks_90d=_count((history.name == EMAIL_CLICKED) & quarter),
        orders_90d=_count(order & quarter),
        spend_90d=history["value"].sum(where=order & quarter).fill_null(0.0),
        average_basket_365d=history["value"].mean(where=order & year),
        discount_share_365d=saved / (paid + saved).nullif(0.0),
    )


def _sessions(history: ir.Table, moment: datetime) -> ir.Table:
    visits = history.filter(history.source.isin(_VISITS), _age_days(history, moment) <= MONTH)
    window = ibis.window(group_by=visits.customer, order_by=[visits["at"], visits.message_id])
    gap = visits["at"].epoch_seconds() - visits["at"].lag().over(window).epoch_seconds()
    starts = visits.mutate(start=(gap.isnull() | (gap > SESSION_GAP.total_seconds())).cast("int64"))
    return starts.group_by("customer").aggregate(sessions_30d=starts.start.sum())


def _attributes(history: ir.Table, moment: datetime) -> ir.Table:
    crm = history.filter(history.source == Source.CRM.value)
    order = [crm["at"], crm.message_id]
    since = crm.properties["created_at"].str.try_cast("timestamp").epoch_seconds()
    return crm.group_by("customer").aggregate(
        tier=crm.properties["tier"].str.last(order_by=order),
        region=crm.properties["region"].str.last(order_by=order),
        tenure_days=((ibis.timestamp(moment).epoch_seconds() - since) / 86400.0).max(),
    )


def _preferred(history: ir.Table, moment: datetime) -> ir.Table:
    used = history.filter(history.source != Source.CRM.value, _age_days(history, moment) <= QUARTER)
    counts = used.group_by("customer", "source").aggregate(uses=used.count())
    order = [counts.uses.desc(), counts.source]
    return counts.group_by("customer").aggregate(preferred_channel=counts.source.first(order_by=order))


def _labels(
    graph: IdentityGraph, cutoff: datetime, horizon: timedelta, customers: Sequence[str]
) -> NDArray[np.int8]:
    later = graph.resolved(cutoff + horizon, links_as_of=cutoff)
    orders = later.filter(later.name == ORDER_COMPLETED, later["at"] > utc_naive(cutoff))
    converted = set(orders.select("customer").distinct().to_pyarrow()["customer"].to_pylist())
    return np.fromiter((customer in converted for customer in customers), dtype=np.int8, count=len(customers))


def _join(left: ir.Table, *others: ir.Table) -> ir.Table:
    for other in others:
        left = left.left_join(other, "customer").drop("customer_right")
    return left


def _count(condition: ir.BooleanValue) -> ir.IntegerScalar:
    return condition.sum().fill_null(0)


def _age_days(history: ir.Table, moment: datetime) -> ir.FloatingValue:
    return (ibis.timestamp(moment).epoch_seconds() - history["at"].epoch_seconds()) / 86400.0


def _number(value: ir.JSONValue) -> ir.FloatingValue:
    return ibis.coalesce(value.float, value.int.cast("float64"), value.str.try_cast("float64"))
