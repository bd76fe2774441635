"""PromQL in the dashboard's words: rates, means, quantiles and buckets of our metrics."""

from __future__ import annotations

from dataclasses import dataclass

SERVICE = 'job=~"$job",instance=~"$instance"'
CLASSIFY = 'endpoint=~"/classify.*|/v2/models/.*infer"'
MODEL = f'{SERVICE},model=~"$model"'


@dataclass(frozen=True)
class Query:
    """One PromQL expression and the name of the series it gives."""

    expr: str
    legend: str = "{{model}}"


def rate(metric: str, by: str = "model", where: str = "") -> str:
    """Per-second increase of a counter with a ``model`` label, summed over all other labels."""
    matchers = f"{MODEL},{where}" if where else MODEL
    return f"sum by ({by}) (rate(spikeserve_{metric}{{{matchers}}}[$__rate_interval]))"


def mean(histogram: str, by: str = "model") -> str:
    """Exact average of a histogram's observations."""
    return f"{rate(f'{histogram}_sum', by)} / {rate(f'{histogram}_count', by)}"


def quantile(q: float, histogram: str, where: str = "", by: str = "model") -> str:
    return f"histogram_quantile({q}, {rate(f'{histogram}_bucket', f'le, {by}', where)})"


def quantiles(histogram: str, where: str = "", by: str = "model") -> tuple[Query, ...]:
    legend = " ".join(f"{{{{{label}}}}}" for label in by.split(", "))
    return tuple(
        Query(quantile(q, histogram, where, by), f"{legend} p{q * 100:.0f}")
        for q in (0.5, 0.9, 0.99)
    )


def buckets(histogram: str, where: str = "") -> tuple[Query, ...]:
    return (Query(rate(f"{histogram}_bucket", "le", where), "{{le}}"),)


def gauge(metric: str, by: str = "model") -> str:
    """Current value of a gauge with a ``model`` label, summed over all other labels."""
    return f"sum by ({by}) (spikeserve_{metric}{{{MODEL}}})"
