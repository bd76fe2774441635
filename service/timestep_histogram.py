"""Timesteps used per inference, in buckets that follow each model's own timesteps."""

from __future__ import annotations

from prometheus_client import Histogram

from spikeserve.service.model_histogram import ModelHistogram

MOST_SINGLE = 16  # timesteps that have a bucket each


class TimestepHistogram(ModelHistogram):
    """Every timestep up to 16, coarser beyond, the last one T."""

    name = "spikeserve_inference_timesteps"
    about = "Timesteps used per inference; average = sum / count."

    def labels(self, *values: str, timesteps: int) -> Histogram:
        """The histogram of a model of so many timesteps."""
        return self.within(buckets_of(timesteps), *values)


def buckets_of(timesteps: int) -> tuple[float, ...]:
    """Every timestep up to 16; beyond, three and four quarters of each power of two, and T."""
    bounds = set(range(1, min(timesteps, MOST_SINGLE) + 1))
    power = 2 * MOST_SINGLE
    while power < 2 * timesteps:
        bounds |= {bound for bound in (power * 3 // 4, power) if bound < timesteps}
        power *= 2
    return tuple(map(float, sorted(bounds | {timesteps})))
