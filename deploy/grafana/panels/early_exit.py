"""How soon rows are sure: the dashboard's first row."""

from __future__ import annotations

from spikeserve.deploy.grafana.panels.panel import Panel, Row
from spikeserve.deploy.grafana.queries import Query, buckets, mean, rate

SURE = 'stop_reason="entropy"'
EXECUTED, SAVED = rate("timesteps_executed_total"), rate("timesteps_saved_total")
SAVED_TIMESTEPS = f"{SAVED} / ({SAVED} + {EXECUTED})"
INFERENCES = rate("inferences_total")
SURE_ROWS = f"{rate('inferences_total', where=SURE)} / {INFERENCES}"

EARLY_EXIT = Row(
    "Early exit",
    (
        Panel(
            "Average timesteps",
            "Timesteps per inference, averaged exactly. Lower is cheaper.",
            "none",
            (Query(mean("inference_timesteps")),),
            kind="stat",
            width=6,
            height=4,
            decimals=2,
        ),
        Panel(
            "Timesteps saved",
            "Share of the timesteps of full runs that early exit made unnecessary.",
            "percentunit",
            (Query(SAVED_TIMESTEPS),),
            kind="stat",
            width=6,
            height=4,
        ),
        Panel(
            "Sure in time",
            "Share of rows that stopped on their entropy threshold, not at their last timestep.",
            "percentunit",
            (Query(SURE_ROWS),),
            kind="stat",
            width=6,
            height=4,
        ),
        Panel(
            "Inferences",
            "Rows that left the engine per second.",
            "ops",
            (Query(INFERENCES),),
            kind="stat",
            width=6,
            height=4,
        ),
        Panel(
            "Average timesteps over time",
            "A rise means harder images or stricter thresholds.",
            "none",
            (Query(mean("inference_timesteps")),),
        ),
        Panel(
            "Timesteps saved over time",
            "Timesteps saved / (saved + executed).",
            "percentunit",
            (Query(SAVED_TIMESTEPS),),
        ),
        Panel(
            "Stop reasons",
            "entropy: sure enough; max_timesteps: out of steps; deadline: out of time; "
            "cancelled: nobody waited any more; error: lost to a failure.",
            "ops",
            (Query(rate("inferences_total", "model, stop_reason"), "{{model}} {{stop_reason}}"),),
            stacked=True,
        ),
        Panel(
            "Exit step over time: $model",
            "How many rows per second left at which timestep; brighter is more.",
            "none",
            buckets("inference_timesteps"),
            kind="heatmap",
            width=12,
            repeated=True,
        ),
        Panel(
            "Exit step distribution: $model",
            "Rows per second by the timestep they left at, averaged over the time range.",
            "ops",
            buckets("inference_timesteps"),
            kind="bargauge",
            width=12,
            repeated=True,
        ),
        Panel(
            "Entropy at exit",
            "Normalised entropy when rows left: 0 is certain, 1 knows nothing.",
            "none",
            buckets("exit_entropy"),
            kind="heatmap",
            width=12,
        ),
        Panel(
            "Entropy and threshold",
            "Mean entropy at exit beside the mean entropy threshold asked for.",
            "none",
            (
                Query(mean("exit_entropy"), "{{model}} entropy"),
                Query(mean("requested_entropy_threshold"), "{{model}} threshold"),
            ),
            width=12,
        ),
    ),
)
