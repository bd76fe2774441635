"""What a panel and a row of the dashboard are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from spikeserve.deploy.grafana.queries import Query


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
    repeated: bool = False
    """A panel for each chosen model, one below the other: models' buckets do not add up."""
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    title: str
    panels: tuple[Panel, ...]
