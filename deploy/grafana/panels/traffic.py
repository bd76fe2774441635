"""What was asked, and how it was answered."""

from __future__ import annotations

from spikeserve.deploy.grafana.panels.panel import Panel, Row
from spikeserve.deploy.grafana.queries import CLASSIFY, SERVICE, Query, rate


def classify_share(codes: str) -> str:
    """Share of answers with one of ``codes``."""
    chosen = rate("requests_total", "job", f'{CLASSIFY},code=~"{codes}"')
    return f"{chosen} / {rate('requests_total', 'job', CLASSIFY)}"


TRAFFIC = Row(
    "Traffic and errors",
    (
        Panel(
            "Requests by code",
            "Classifications by every way in; 499 is a client that left.",
            "reqps",
            (Query(rate("requests_total", "code", CLASSIFY), "{{code}}"),),
            stacked=True,
        ),
        Panel(
            "Errors and refusals",
            "Share of answers that failed (500), were turned away (429, 503) or too late (504).",
            "percentunit",
            (
                Query(classify_share("500"), "failed"),
                Query(classify_share("429|503"), "turned away"),
                Query(classify_share("504"), "too late"),
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
