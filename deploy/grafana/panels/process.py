"""The processes themselves."""

from __future__ import annotations

from spikeserve.deploy.grafana.panels.panel import Panel, Row
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
            width=4,
            height=4,
        ),
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
            width=8,
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
