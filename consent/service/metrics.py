"""Figures for Prometheus: requests by route template, commits, and how far the log is published.

No label holds a brand, a purpose or a customer: how much a brand asks and when is its own business, and whoever
watches the service serves all of them. A route is named by its template and an unknown method is `other`.
"""

import os
import time
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from consent.log.store import read_head
from consent.service.readiness import published_head
from consent.service.work import Workplace

MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
"""The variable that names the folder in which the processes of one service add up their figures."""
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
MEMBERS = (1, 2, 4, 8, 16, 32)


class Metrics:
    """What one process counts; `exposition` adds what the other processes of the service counted."""

    def __init__(self) -> None:
        self._own = CollectorRegistry()
        labels = ("method", "route")
        self._requests = Counter("confide_requests", "Requests answered.", (*labels, "status"), registry=self._own)
        self._seconds = Histogram(
            "confide_request_seconds", "Time to answer.", labels, buckets=SECONDS, registry=self._own
        )
        self._commits = Histogram(
            "confide_commit_members", "Writers that shared a commit.", buckets=MEMBERS, registry=self._own
        )

    def answered(self, method: str, route: str, status: int | None, seconds: float) -> None:
        """Count a request; `status` is None where the caller left before an answer."""
        self._requests.labels(method, route, str(status or "none")).inc()
        self._seconds.labels(method, route).observe(seconds)

    def committed(self, members: int) -> None:
        """Count a commit that so many writers shared."""
        self._commits.observe(members)

    def exposition(self, work: Workplace) -> bytes:
        """Return everything in Prometheus' text format."""
        registry = CollectorRegistry()
        if MULTIPROCESS in os.environ:
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        else:
            registry.register(self._own)
        registry.register(_LogFigures(work))
        return generate_latest(registry)


class _LogFigures(Collector):
    """How long the log is, and how much of it is published."""

    def __init__(self, work: Workplace) -> None:
        self._work = work

    def collect(self) -> Iterable[Metric]:
        """Read the figures now."""
        with self._work.reading() as unit:
            size = read_head(unit.session).size
        head = published_head(self._work.publisher.folder)
        age, behind = max(time.time() - head.written_at, 0), max(size - head.size, 0)
        yield GaugeMetricFamily("confide_log_entries", "Entries in the log.", size)
        yield GaugeMetricFamily("confide_log_unpublished_entries", "Entries under no published head.", behind)
        yield GaugeMetricFamily("confide_log_head_age_seconds", "Time since a head was published.", age)
