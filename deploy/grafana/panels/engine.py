"""Slots, queue and steps."""

from __future__ import annotations

from spikeserve.deploy.grafana.panels.panel import Override, Panel, Row
from spikeserve.deploy.grafana.queries import MODEL, SERVICE, Query, gauge, mean, quantiles, rate

BUSY = 'state="busy"'
NEWEST_STEP = "spikeserve_engine_last_step_timestamp_seconds"
OCCUPANCY = f"{rate('slot_steps_total', where=BUSY)} / {rate('slot_steps_total')}"
SINCE_STEP = f"time() - max by (model) ({NEWEST_STEP}{{{MODEL}}} > 0)"
LIMIT = {"custom.lineStyle": {"fill": "dash", "dash": [6, 6]}, "custom.fillOpacity": 0}

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
            overrides=(Override("slots$", LIMIT),),
        ),
        Panel(
            "Timesteps waiting",
            "What the queue is expected to take; at capacity, requests are answered 429.",
            "none",
            (
                Query(gauge("pending_timesteps"), "{{model}} waiting"),
                Query(gauge("queue_capacity_timesteps"), "{{model}} capacity"),
            ),
            overrides=(Override("capacity$", LIMIT),),
        ),
        Panel(
            "Rows waiting",
            "Images in the queue.",
            "none",
            (Query(gauge("requests_queued")),),
        ),
        Panel(
            "Inside",
            "Images being answered, those of them that wait for a decoder, and request bodies that "
            "are still arriving.",
            "none",
            (
                Query(f"sum by (job) (spikeserve_requests_inside{{{SERVICE}}})", "images"),
                Query(f"sum by (job) (spikeserve_decodes_queued{{{SERVICE}}})", "for a decoder"),
                Query(f"sum by (job) (spikeserve_uploads{{{SERVICE}}})", "uploads"),
            ),
        ),
        Panel(
            "Connections",
            "Open connections, most of which wait for their next request.",
            "none",
            (Query(f"sum by (job) (spikeserve_connections{{{SERVICE}}})", "{{job}}"),),
        ),
        Panel(
            "Held before the engine",
            "Bytes of request bodies that are not decoded yet, and what decoding may take.",
            "bytes",
            (
                Query(f"sum by (job) (spikeserve_upload_bytes{{{SERVICE}}})", "bodies"),
                Query(f"sum by (job) (spikeserve_decode_bytes{{{SERVICE}}})", "decoding"),
            ),
        ),
        Panel(
            "Clients that left",
            "Rows cancelled because nobody waited for them any more, and where they were.",
            "ops",
            (
                Query(
                    rate("requests_cancelled_total", "model, phase"),
                    "{{model}} {{phase}}",
                ),
            ),
            stacked=True,
        ),
        Panel(
            "Brownout",
            "How far load raises entropy thresholds (0 to 4), and for how many requests a second.",
            "none",
            (
                Query(gauge("brownout_level"), "{{model}} level"),
                Query(rate("brownout_requests_total"), "{{model}} requests"),
            ),
            soft_max=4,
            overrides=(
                Override(
                    "requests$",
                    {"unit": "reqps", "custom.axisPlacement": "right", "custom.axisSoftMax": 1},
                ),
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
