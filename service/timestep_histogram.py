"""Timesteps used per inference: a histogram whose buckets follow each model's own timesteps."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

MOST_SINGLE = 16  # timesteps that have a bucket each
NAME = "spikeserve_inference_timesteps"
ABOUT = "Timesteps used per inference; average = sum / count."


class TimestepHistogram(Collector):
    """One metric, made of a histogram for every model and version."""

    def __init__(self, registry: CollectorRegistry, labels: tuple[str, ...]) -> None:
        self._labelnames = labels
        self._models: dict[tuple[str, ...], tuple[tuple[float, ...], Histogram]] = {}
        registry.register(self)

    def labels(self, *values: str, timesteps: int) -> Histogram:
        """The model's histogram. It goes on after a reload, and begins anew with other buckets."""
        bounds = buckets_of(timesteps)
        before = self._models.get(values)
        if before is None or before[0] != bounds:
            histogram = Histogram(NAME, ABOUT, self._labelnames, buckets=bounds, registry=None)
            self._models[values] = bounds, histogram
        return self._models[values][1].labels(*values)

    def describe(self) -> Iterator[Metric]:
        """What is collected, without samples."""
        yield Metric(NAME, ABOUT, "histogram")

    def collect(self) -> Iterator[Metric]:
        """All models' samples together."""
        (whole,) = self.describe()
        for _, histogram in list(self._models.values()):
            for metric in histogram.collect():
                whole.samples.extend(metric.samples)
        yield whole


def buckets_of(timesteps: int) -> tuple[float, ...]:
    """Every timestep up to 16; beyond, three and four quarters of each power of two, and T."""
    bounds = set(range(1, min(timesteps, MOST_SINGLE) + 1))
    power = 2 * MOST_SINGLE
    while power < 2 * timesteps:
        bounds |= {bound for bound in (power * 3 // 4, power) if bound < timesteps}
        power *= 2
    return tuple(map(float, sorted(bounds | {timesteps})))
