"""The processes themselves."""

from __future__ import annotations

from spikeserve.deploy.grafana.panels.panel import PLAIN, Override, Panel, Row
from spikeserve.deploy.grafana.queries import SERVICE, Query, gauge

PROCESS = Row(
    "Process",
    (
        Panel(
            "Scraped instances",
            "Instances that Prometheus knows and that answer it.",
            "none",
            (Query(f"sum by (job) (up{{{SERVICE}}})", "{{job}}"),),
            kind="stat",
            options=PLAIN,
            width=3,
            height=5,
        ),
        Panel(
            "Ready instances",
            "Instances with models loaded that admit requests.",
            "none",
            (Query(f"sum by (job) (spikeserve_ready{{{SERVICE}}})", "{{job}}"),),
            kind="stat",
            options=PLAIN,
            width=3,
            height=5,
        ),
        Panel(
            "Releases",
            "Instances by release; more than one means that a rollout is under way.",
            "none",
            (Query(f"sum by (version) (spikeserve_build_info{{{SERVICE}}})", "{{version}}"),),
            kind="stat",
            options={**PLAIN, "textMode": "value_and_name"},
            width=3,
            height=5,
        ),
        Panel(
            "Uptime",
            "Since the youngest instance started.",
            "s",
            (Query(f"time() - max by (job) (process_start_time_seconds{{{SERVICE}}})", "{{job}}"),),
            kind="stat",
            options=PLAIN,
            width=3,
            height=5,
        ),
        Panel(
            "Served models",
            "Instances by model, version, engine and encoding.",
            "none",
            (Query(gauge("model_info", "model, version, engine, encoding")),),
            kind="table",
            width=12,
            height=5,
            overrides=(Override("^model$", {"custom.width": 200}),),
            columns={
                "model": "model",
                "version": "version",
                "engine": "engine",
                "encoding": "encoding",
                "Value": "instances",
            },
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
            "File descriptors in use, connections included, as a share of their limit.",
            "percentunit",
            (
                Query(
                    f"process_open_fds{{{SERVICE}}} / process_max_fds{{{SERVICE}}}", "{{instance}}"
                ),
            ),
        ),
    ),
)
