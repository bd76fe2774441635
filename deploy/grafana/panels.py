"""What the dashboard shows: rows of panels with their PromQL, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from deploy.grafana.queries import (
    MODEL,
    SERVICE,
    Query,
    buckets,
    gauge,
    mean,
    quantile,
    quantiles,
    rate,
)

CLASSIFY = 'endpoint="/classify"'
SURE = 'stop_reason="entropy"'
BUSY = 'state="busy"'
NEWEST_STEP = "spikeserve_engine_last_step_timestamp_seconds"


@dataclass(frozen=True)
class Panel:
    """One panel, in grid units: 24 to a line."""

    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    kind: Literal["timeseries", "stat", "heatmap", "bargauge", "table"] = "timeseries"
    width: int = 8
    height: int = 8
    stacked: bool = False
    decimals: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    title: str
    panels: tuple[Panel, ...]


EXECUTED, SAVED = rate("timesteps_executed_total"), rate("timesteps_saved_total")
SAVED_TIMESTEPS = f"{SAVED} / ({SAVED} + {EXECUTED})"
ENERGY_USED, ENERGY_BASELINE = rate("energy_joules_total"), rate("energy_baseline_joules_total")
SAVED_ENERGY = f"1 - {ENERGY_USED} / {ENERGY_BASELINE}"
INFERENCES = rate("inferences_total")
SURE_ROWS = f"{rate('inferences_total', where=SURE)} / {INFERENCES}"
OCCUPANCY = f"{rate('slot_steps_total', where=BUSY)} / {rate('slot_steps_total')}"
SINCE_STEP = f"time() - max by (model) ({NEWEST_STEP}{{{MODEL}}} > 0)"


def classify_share(codes: str) -> str:
    """Share of ``/classify`` answers with one of ``codes``."""
    chosen = rate("requests_total", "job", f'{CLASSIFY},code=~"{codes}"')
    return f"{chosen} / {rate('requests_total', 'job', CLASSIFY)}"


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
            "entropy: sure enough; max_timesteps: out of steps; error: lost to a failure.",
            "ops",
            (Query(rate("inferences_total", "model, stop_reason"), "{{model}} {{stop_reason}}"),),
            stacked=True,
        ),
        Panel(
            "Exit step over time",
            "How many rows per second left at which timestep; brighter is more.",
            "none",
            buckets("inference_timesteps"),
            kind="heatmap",
            width=12,
        ),
        Panel(
            "Exit step distribution",
            "Rows per second by the timestep they left at, averaged over the time range.",
            "ops",
            buckets("inference_timesteps"),
            kind="bargauge",
            width=12,
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
            "Mean entropy at exit beside the mean entropy threshold in effect.",
            "none",
            (
                Query(mean("exit_entropy"), "{{model}} entropy"),
                Query(mean("requested_entropy_threshold"), "{{model}} threshold"),
            ),
            width=12,
        ),
    ),
)

ENERGY = Row(
    "Energy (estimated for an in-memory-computing chip)",
    (
        Panel(
            "Estimated power",
            "What the modelled chip would draw for this load; not the power of this machine.",
            "watt",
            (Query(ENERGY_USED),),
            kind="stat",
            width=8,
            height=4,
        ),
        Panel(
            "Estimated energy per inference",
            "Estimated joules per answered row. Good to about a factor of two; ratios are tighter.",
            "joule",
            (Query(mean("request_energy_joules")),),
            kind="stat",
            width=8,
            height=4,
        ),
        Panel(
            "Estimated energy saved",
            "1 - used / baseline, where the baseline runs the same rows to their last timestep.",
            "percentunit",
            (Query(SAVED_ENERGY),),
            kind="stat",
            width=8,
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
            quantiles("request_energy_joules"),
        ),
        Panel(
            "Estimated energy saved over time",
            "1 - used / baseline.",
            "percentunit",
            (Query(SAVED_ENERGY),),
        ),
    ),
)

TRAFFIC = Row(
    "Traffic and errors",
    (
        Panel(
            "Requests by code",
            "Answers of POST /classify; 499 is a client that left while sending.",
            "reqps",
            (Query(rate("requests_total", "code", CLASSIFY), "{{code}}"),),
            stacked=True,
        ),
        Panel(
            "Errors and refusals",
            "Share of answers that failed (500) or were turned away (429, 503).",
            "percentunit",
            (
                Query(classify_share("500"), "failed"),
                Query(classify_share("429|503"), "turned away"),
            ),
        ),
        Panel(
            "Rejections by reason",
            "Requests refused, of all models, and why.",
            "reqps",
            (
                Query(
                    "sum by (reason) "
                    f"(rate(spikeserve_requests_rejected_total{{{SERVICE}}}[$__rate_interval]))",
                    "{{reason}}",
                ),
            ),
            stacked=True,
        ),
    ),
)

LATENCY = Row(
    "Latency",
    (
        Panel(
            "Request latency",
            "First byte in to answer out, POST /classify.",
            "s",
            quantiles("request_duration_seconds", CLASSIFY),
        ),
        Panel(
            "Where the time goes",
            "Mean time per stage: decoding, waiting for a slot, inference.",
            "s",
            tuple(
                Query(mean(f"{stage}_duration_seconds"), f"{{{{model}}}} {stage}")
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
            width=24,
        ),
    ),
)

ENGINE = Row(
    "Engine",
    (
        Panel(
            "Rows in slots",
            "Rows that run together, and how many could.",
            "none",
            (
                Query(gauge("requests_running"), "{{model}} running"),
                Query(gauge("slots"), "{{model}} slots"),
            ),
        ),
        Panel(
            "Rows waiting",
            "At capacity, requests are answered 429.",
            "none",
            (
                Query(gauge("requests_queued"), "{{model}} waiting"),
                Query(gauge("queue_capacity"), "{{model}} capacity"),
            ),
        ),
        Panel(
            "Slot occupancy",
            "Busy slots / all slots, over the steps that ran.",
            "percentunit",
            (Query(OCCUPANCY),),
        ),
        Panel(
            "Step time",
            "One timestep of all live rows.",
            "s",
            quantiles("step_duration_seconds"),
        ),
        Panel(
            "Rows per step",
            "Mean batch the engine sees.",
            "none",
            (Query(mean("batch_rows")),),
        ),
        Panel(
            "Since the newest step",
            "Grows while idle; growing with rows waiting means the engine is stuck.",
            "s",
            (Query(SINCE_STEP),),
        ),
    ),
)

PROCESS = Row(
    "Process",
    (
        Panel(
            "Ready instances",
            "Instances with models loaded that admit requests.",
            "none",
            (Query(f"sum by (job) (spikeserve_ready{{{SERVICE}}})", "{{job}}"),),
            kind="stat",
            width=4,
            height=4,
        ),
        Panel(
            "Instances by release",
            "More than one release means that a rollout is under way.",
            "none",
            (Query(f"sum by (version) (spikeserve_build_info{{{SERVICE}}})", "{{version}}"),),
            kind="stat",
            width=4,
            height=4,
            options={"textMode": "value_and_name"},
        ),
        Panel(
            "Uptime",
            "Since the youngest instance started.",
            "s",
            (Query(f"time() - max by (job) (process_start_time_seconds{{{SERVICE}}})", "{{job}}"),),
            kind="stat",
            width=4,
            height=4,
        ),
        Panel(
            "Served models",
            "Instances by model, version, engine and encoding.",
            "none",
            (Query(gauge("model_info", "model, version, engine, encoding")),),
            kind="table",
            width=12,
            height=4,
        ),
        Panel(
            "CPU",
            "Cores in use.",
            "none",
            (
                Query(
                    f"rate(process_cpu_seconds_total{{{SERVICE}}}[$__rate_interval])",
                    "{{instance}}",
                ),
            ),
        ),
        Panel(
            "Memory",
            "Resident memory; flat under constant load.",
            "bytes",
            (Query(f"process_resident_memory_bytes{{{SERVICE}}}", "{{instance}}"),),
        ),
        Panel(
            "Open files",
            "File descriptors, connections included, and their limit.",
            "none",
            (
                Query(f"process_open_fds{{{SERVICE}}}", "{{instance}} open"),
                Query(f"process_max_fds{{{SERVICE}}}", "{{instance}} limit"),
            ),
        ),
    ),
)

ROWS = (EARLY_EXIT, ENERGY, TRAFFIC, LATENCY, ENGINE, PROCESS)
