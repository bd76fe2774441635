"""What an operator looks at first; red beyond the limits of the alerts."""

from __future__ import annotations

from functools import partial

from spikeserve.deploy.grafana.panels.early_exit import INFERENCES, TIMESTEPS
from spikeserve.deploy.grafana.panels.energy import SAVED_ENERGY
from spikeserve.deploy.grafana.panels.panel import PLAIN, Panel, Row
from spikeserve.deploy.grafana.panels.traffic import classify_share
from spikeserve.deploy.grafana.queries import CLASSIFY, Query, quantile

number = partial(Panel, kind="stat", options=PLAIN, height=4)

GLANCE = Row(
    "At a glance",
    (
        number(
            "Average timesteps",
            "Timesteps per inference, averaged exactly. Lower is cheaper.",
            "none",
            (Query(TIMESTEPS),),
            width=5,
            decimals=2,
        ),
        number(
            "Estimated energy saved",
            "1 - used / baseline, where the baseline runs the same rows to their last timestep.",
            "percentunit",
            (Query(SAVED_ENERGY),),
            width=5,
        ),
        number(
            "Inferences",
            "Rows that left the engine per second.",
            "ops",
            (Query(INFERENCES),),
            width=5,
        ),
        number(
            "Slowest 1 %",
            "p99 from first byte in to answer out, by every way in.",
            "s",
            (Query(quantile(0.99, "request_duration_seconds", CLASSIFY, "job"), "{{job}}"),),
            width=3,
            alarm=1,
        ),
        number(
            "Turned away",
            "Share of classifications answered 429 or 503.",
            "percentunit",
            (Query(classify_share("429|503"), "{{job}}"),),
            width=3,
            alarm=0.05,
        ),
        number(
            "Failed",
            "Share of classifications answered 500.",
            "percentunit",
            (Query(classify_share("500"), "{{job}}"),),
            width=3,
            alarm=0.01,
        ),
    ),
)
