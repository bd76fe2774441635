"""Where a request's time goes."""

from __future__ import annotations

from spikeserve.deploy.grafana.panels.panel import Panel, Row
from spikeserve.deploy.grafana.queries import CLASSIFY, Query, buckets, mean, quantile, quantiles

LATENCY = Row(
    "Latency",
    (
        Panel(
            "Request latency",
            "First byte in to answer out, by every way in.",
            "s",
            quantiles("request_duration_seconds", CLASSIFY, "job"),
        ),
        Panel(
            "Slowest 1 % by endpoint",
            "p99 of each way in; a batch takes as long as its slowest image.",
            "s",
            (
                Query(
                    quantile(0.99, "request_duration_seconds", CLASSIFY, "endpoint"), "{{endpoint}}"
                ),
            ),
        ),
        Panel(
            "Where the time goes",
            "Mean time per stage: decoding, waiting for a slot, inference.",
            "s",
            tuple(
                Query(mean(f"{stage}_duration_seconds", "job"), f"{{{{job}}}} {stage}")
                for stage in ("decode", "queue", "inference")
            ),
            stacked=True,
        ),
        Panel(
            "Slowest 1 % by stage",
            "p99 of each stage on its own; they do not add up.",
            "s",
            tuple(
                Query(quantile(0.99, f"{stage}_duration_seconds"), f"{{{{model}}}} {stage}")
                for stage in ("decode", "queue", "inference")
            ),
        ),
        Panel(
            "Request latency distribution",
            "Requests per second by latency; brighter is more.",
            "s",
            buckets("request_duration_seconds", CLASSIFY),
            kind="heatmap",
            width=16,
        ),
    ),
)
