"""Samples of some metrics, read without collecting all the others, and added up by label."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from functools import cache
from itertools import accumulate

from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.samples import Sample

from spikeserve.service.metrics import FOLDER, MULTIPROCESS
from spikeserve.service.model_histogram import ModelHistogram

Family = MetricWrapperBase | ModelHistogram
Labels = tuple[tuple[str, str], ...]
BOUND = "le"


class Numbers:
    """Sums of samples."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        self._samples: defaultdict[str, list[Sample]] = defaultdict(list)
        for sample in samples:
            self._samples[sample.name].append(sample)

    def by(self, label: str, name: str, **labels: str) -> dict[str, float]:
        """Sums over the samples of a name with these labels, by what another label says."""
        sums: defaultdict[str, float] = defaultdict(float)
        for sample in self._samples[name]:
            if labels.items() <= sample.labels.items():
                sums[sample.labels.get(label, "")] += sample.value
        return dict(sums)

    def total(self, name: str, **labels: str) -> float:
        """The sum over all samples of a name with these labels."""
        return sum(self.by("", name, **labels).values())

    def buckets(self, name: str, **labels: str) -> tuple[list[float], list[int]]:
        """A histogram's finite bounds, and what did not exceed each; one count more: all."""
        found = self.by(BOUND, f"{name}_bucket", **labels)
        counts = sorted((float(bound), int(count)) for bound, count in found.items())
        return [bound for bound, _ in counts[:-1]], [count for _, count in counts]


def samples_of(families: Collection[Family]) -> Iterator[Sample]:
    """What a scrape shows of these: of this process, or of all of them together.

    Gauges are such as sum over processes.

    Raises:
        OSError: the folder in which processes count is gone.
    """
    if MULTIPROCESS:
        names = [metric.name for family in families for metric in family.describe()]
        yield from _in_folder(os.environ[FOLDER], names)
    else:
        for family in families:
            for metric in family.collect():
                yield from metric.samples


def _in_folder(folder: str, names: Iterable[str]) -> Iterator[Sample]:
    """Straight from the files: the library's own collector parses thousands of samples for the
    few hundred that are wanted."""
    wanted = tuple(f'["{name}",' for name in names)
    sums: defaultdict[str, float] = defaultdict(float)
    for file in os.listdir(folder):
        try:
            values = MmapedDict.read_all_values_from_file(os.path.join(folder, file))  # type: ignore[no-untyped-call]
        except FileNotFoundError:  # gauges of a process that has just ended
            continue
        for key, value, *_ in values:
            if key.startswith(wanted):
                sums[key] += value
    histograms: defaultdict[tuple[str, Labels], list[tuple[float, str, float]]] = defaultdict(list)
    for key, value in sums.items():
        name, labels, bound = _parsed(key)
        if bound is None:
            yield Sample(name, dict(labels), value)
        else:
            histograms[name, labels].append((float(bound), bound, value))
    for (name, labels), buckets in histograms.items():  # in the files each stands for itself
        buckets.sort()
        counts = accumulate(value for *_, value in buckets)
        for (_, bound, _), count in zip(buckets, counts, strict=True):
            yield Sample(name, {**dict(labels), BOUND: bound}, count)


@cache  # there are as many as series
def _parsed(key: str) -> tuple[str, Labels, str | None]:
    """A sample's name and labels, a bucket's bound apart."""
    _, name, labels, _ = json.loads(key)
    bound = labels.pop(BOUND, None)
    return name, tuple(labels.items()), bound
