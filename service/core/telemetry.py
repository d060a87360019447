"""Prometheus metrics: requests, allocations, latency, staleness and the states of jobs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import lru_cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class JobStates(Collector):
    """Number of jobs in each state, counted at each request."""

    def __init__(self, count: Callable[[], dict[str, int]]) -> None:
        self._count = count

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Count."""
        family = GaugeMetricFamily("equitrade_jobs", "Jobs by state.", labels=["status"])
        for status, number in sorted(self._count().items()):
            family.add_metric([status], number)
        yield family


class Telemetry:
    """The metrics of one process; with ``PROMETHEUS_MULTIPROC_DIR`` set, of all workers together."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "equitrade_requests", "Requests answered.", ["method", "route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "equitrade_request_seconds",
            "Time to answer.",
            ["route"],
            registry=self.registry,
            buckets=_SECONDS,
        )
        self.allocations = Counter(
            "equitrade_allocations",
            "Answered allocations and signals.",
            ["model", "kind"],
            registry=self.registry,
        )
        self.staleness = Gauge(
            "equitrade_allocation_staleness_days",
            "Age of the prices behind the last allocation.",
            ["model"],
            registry=self.registry,
            multiprocess_mode="mostrecent",
        )
        self.problems = Counter(
            "equitrade_problems", "Problems answered, by type.", ["kind"], registry=self.registry
        )

        self._of_request = lru_cache(maxsize=4096)(self._children)
        self._of_decision = lru_cache(maxsize=4096)(self._decision_children)

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        count, duration = self._of_request(method, route, status)
        count.inc()
        duration.observe(seconds)

    def decided(self, model: str, kind: str, staleness_days: int) -> None:
        """Count one allocation or signal."""
        count, staleness = self._of_decision(model, kind)
        count.inc()
        staleness.set(staleness_days)

    # Looking up the child of a metric by its labels takes longer than counting.

    def _children(self, method: str, route: str, status: int) -> tuple[Counter, Histogram]:
        return self.requests.labels(method, route, str(status)), self.seconds.labels(route)

    def _decision_children(self, model: str, kind: str) -> tuple[Counter, Gauge]:
        return self.allocations.labels(model, kind), self.staleness.labels(model)

    def render(self, jobs: Callable[[], dict[str, int]]) -> bytes:
        """Return the metrics as text for Prometheus."""
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            from prometheus_client.multiprocess import MultiProcessCollector

            merged = CollectorRegistry()
            MultiProcessCollector(merged)  # type: ignore[no-untyped-call]
        else:
            merged = self.registry
        extra = CollectorRegistry()
        extra.register(JobStates(jobs))
        return generate_latest(merged) + generate_latest(extra)
