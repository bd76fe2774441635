"""What was asked, and how it was answered."""

from __future__ import annotations

from spikeserve.deploy.grafana.panels.panel import Panel, Row
from spikeserve.deploy.grafana.queries import CLASSIFY, SERVICE, Query, rate

RARE = 0.1  # a few per cent are bad enough to be seen


def classify_share(codes: str, by: str = "job") -> str:
    """Share of answers with one of ``codes``."""
    chosen = rate("requests_total", by, f'{CLASSIFY},code=~"{codes}"')
    return f"{chosen} / {rate('requests_total', by, CLASSIFY)}"


TRAFFIC = Row(
    "Traffic and errors",
    (
        Panel(
            "Requests by code",
            "Classifications by every way in; 499 is a client that left.",
            "reqps",
            (Query(rate("requests_total", "code", CLASSIFY), "{{code}}"),),
            stacked=True,
            width=12,
        ),
        Panel(
            "Errors and refusals",
            "Share of answers that failed (500), were turned away (429, 503), were too late (504) "
            "or that nobody waited for (499).",
            "percentunit",
            (
                Query(classify_share("500"), "failed"),
                Query(classify_share("429|503"), "turned away"),
                Query(classify_share("504"), "too late"),
                Query(classify_share("499"), "left"),
            ),
            soft_max=RARE,
            width=12,
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
            width=12,
            stacked=True,
        ),
        Panel(
            "Images of batches by code",
            "What each image of a batch was answered; the batch itself is a 200.",
            "ops",
            (Query(rate("items_total", "code"), "{{code}}"),),
            width=12,
            stacked=True,
        ),
        Panel(
            "Requests by endpoint",
            "Classifications by the way they came in.",
            "reqps",
            (Query(rate("requests_total", "endpoint", CLASSIFY), "{{endpoint}}"),),
            stacked=True,
        ),
        Panel(
            "Errors by endpoint",
            "Share of each endpoint's answers that failed; a stream counts by how it ended.",
            "percentunit",
            (Query(classify_share("500", "endpoint"), "{{endpoint}}"),),
            soft_max=RARE,
        ),
        Panel(
            "Turned away by endpoint",
            "Share of each endpoint's requests that were turned away (429, 503).",
            "percentunit",
            (Query(classify_share("429|503", "endpoint"), "{{endpoint}}"),),
            soft_max=RARE,
        ),
    ),
)
