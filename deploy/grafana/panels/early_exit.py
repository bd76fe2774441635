"""How soon rows are sure."""

from __future__ import annotations

from spikeserve.deploy.grafana.panels.panel import Panel, Row
from spikeserve.deploy.grafana.queries import Query, buckets, mean, rate

FINITE = 'le!="+Inf"'  # nothing lies above the last timestep, or above an entropy of 1
SURE = 'stop_reason="entropy"'
EXECUTED, SAVED = rate("timesteps_executed_total"), rate("timesteps_saved_total")
SAVED_TIMESTEPS = f"{SAVED} / ({SAVED} + {EXECUTED})"
TIMESTEPS = mean("inference_timesteps")
EXITED = rate("inference_timesteps_bucket", "le", FINITE)
EXIT_SHARES = f"{EXITED} / scalar({rate('inference_timesteps_count')})"
INFERENCES = rate("inferences_total")
SURE_ROWS = f"{rate('inferences_total', where=SURE)} / {INFERENCES}"

EARLY_EXIT = Row(
    "Early exit",
    (
        Panel(
            "Average timesteps over time",
            "A rise means harder images or stricter thresholds.",
            "none",
            (Query(TIMESTEPS),),
        ),
        Panel(
            "Timesteps saved",
            "Share of the timesteps of full runs that early exit made unnecessary.",
            "percentunit",
            (Query(SAVED_TIMESTEPS),),
        ),
        Panel(
            "Sure in time",
            "Share of rows that stopped on their entropy threshold, not at their last timestep.",
            "percentunit",
            (Query(SURE_ROWS),),
        ),
        Panel(
            "Exit step over time: $model",
            "How many rows per second left at which timestep; brighter is more.",
            "none",
            (Query(EXITED, "{{le}}"),),
            kind="heatmap",
            width=12,
            repeated=True,
        ),
        Panel(
            "Exit step distribution: $model",
            "Share of rows by the timestep they left at, averaged over the time range.",
            "percentunit",
            (Query(EXIT_SHARES, "{{le}}"),),
            kind="bargauge",
            width=12,
            repeated=True,
        ),
        Panel(
            "Entropy at exit",
            "Normalised entropy when rows left: 0 is certain, 1 knows nothing.",
            "none",
            buckets("exit_entropy", FINITE),
            kind="heatmap",
            decimals=2,
        ),
        Panel(
            "Entropy and threshold",
            "Mean entropy at exit beside the mean entropy threshold asked for.",
            "none",
            (
                Query(mean("exit_entropy"), "{{model}} entropy"),
                Query(mean("requested_entropy_threshold"), "{{model}} threshold"),
            ),
        ),
        Panel(
            "Stop reasons",
            "entropy: sure enough; max_timesteps: out of steps; deadline: out of time; "
            "cancelled: nobody waited any more; error: lost to a failure.",
            "ops",
            (Query(rate("inferences_total", "stop_reason"), "{{stop_reason}}"),),
            stacked=True,
        ),
    ),
)
