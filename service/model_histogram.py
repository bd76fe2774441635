"""A histogram whose buckets are each model's own: one metric, made of several."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector


class ModelHistogram(Collector):
    """One metric, made of a histogram for every model and version."""

    name: str
    about: str

    def __init__(self, registry: CollectorRegistry, labels: tuple[str, ...]) -> None:
        self._labelnames = labels
        self._models: dict[tuple[str, ...], tuple[tuple[float, ...], Histogram]] = {}
        registry.register(self)

    def within(self, bounds: tuple[float, ...], *values: str) -> Histogram:
        """The model's histogram. It goes on after a reload, and begins anew with other buckets."""
        before = self._models.get(values)
        if before is None or before[0] != bounds:
            histogram = Histogram(
                self.name, self.about, self._labelnames, buckets=bounds, registry=None
            )
            self._models[values] = bounds, histogram
        return self._models[values][1].labels(*values)

    def describe(self) -> Iterator[Metric]:
        """What is collected, without samples."""
        yield Metric(self.name, self.about, "histogram")

    def collect(self) -> Iterator[Metric]:
        """All models' samples together."""
        (whole,) = self.describe()
        for _, histogram in list(self._models.values()):
            for metric in histogram.collect():
                whole.samples.extend(metric.samples)
        yield whole
