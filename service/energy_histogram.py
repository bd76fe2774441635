"""Estimated energy per inference, in buckets that follow what each model's inferences can take."""

from __future__ import annotations

import math

from prometheus_client import Histogram

from spikeserve.service.model_histogram import ModelHistogram

SERIES = (
    ("1", "1.25", "1.6", "2", "2.5", "3.2", "4", "5", "6.3", "8"),
    ("1", "1.6", "2.5", "4", "6.3"),
    ("1", "2", "5"),
    ("1",),
)
"""Preferred numbers, ever coarser. Texts, since only a literal is the number nearest to a decimal:
5 * 10**-6 is 4.9999999999999996e-06."""
MOST_BOUNDS = 16
SPARSEST = 1e-9  # of the highest: nobody needs to tell apart what is less


class EnergyHistogram(ModelHistogram):
    """From below the least that an inference can take to beyond a full run's."""

    name = "spikeserve_request_energy_joules"
    about = "Estimated energy per inference."

    def labels(self, *values: str, joules: tuple[float, float]) -> Histogram:
        """The histogram of a model whose inferences take from the first to the second."""
        return self.within(buckets_of(*joules), *values)


def buckets_of(least: float, most: float) -> tuple[float, ...]:
    """The finest preferred numbers that cover ``least`` to ``most`` with few enough buckets."""
    most = most if math.isfinite(most) and most > 0 else 1.0
    least = min(max(least, most * SPARSEST), most)
    found: tuple[float, ...] = ()
    for series in SERIES:
        found = _between(series, least, most)
        if len(found) <= MOST_BOUNDS:
            break
    return found


def _between(series: tuple[str, ...], least: float, most: float) -> tuple[float, ...]:
    """From the last number that is not above ``least`` to the first that is not below ``most``."""
    decades = range(math.floor(math.log10(least)) - 1, math.ceil(math.log10(most)) + 1)
    numbers = [float(f"{mantissa}e{decade}") for decade in decades for mantissa in series]
    first = max(number for number in numbers if number <= least)
    last = min(number for number in numbers if number >= most)
    return tuple(number for number in numbers if first <= number <= last)
