"""What the modelled chip would draw."""

from __future__ import annotations

from spikeserve.deploy.grafana.panels.panel import Panel, Row
from spikeserve.deploy.grafana.queries import Query, mean, quantiles, rate

ENERGY_USED, ENERGY_BASELINE = rate("energy_joules_total"), rate("energy_baseline_joules_total")
SAVED_ENERGY = f"1 - {ENERGY_USED} / {ENERGY_BASELINE}"

ENERGY = Row(
    "Energy (estimated for an in-memory-computing chip)",
    (
        Panel(
            "Estimated power",
            "What the modelled chip would draw for this load; not the power of this machine.",
            "watt",
            (Query(ENERGY_USED),),
            kind="stat",
            width=12,
            height=4,
        ),
        Panel(
            "Estimated energy per inference",
            "Estimated joules per answered row. Good to about a factor of two; ratios are tighter.",
            "joule",
            (Query(mean("request_energy_joules")),),
            kind="stat",
            width=12,
            height=4,
        ),
        Panel(
            "Estimated power, with and without early exit",
            "The gap between the lines is what early exit saves.",
            "watt",
            (
                Query(ENERGY_USED, "{{model}} early exit"),
                Query(ENERGY_BASELINE, "{{model}} all timesteps"),
            ),
        ),
        Panel(
            "Estimated energy per inference over time",
            "Quantiles over rows; the spread is the price of hard images.",
            "joule",
            quantiles("request_energy_joules", by="model, version"),  # each has buckets of its own
        ),
        Panel(
            "Estimated energy saved over time",
            "1 - used / baseline, where the baseline runs the same rows to their last timestep.",
            "percentunit",
            (Query(SAVED_ENERGY),),
        ),
    ),
)
