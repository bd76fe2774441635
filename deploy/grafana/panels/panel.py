"""What a panel and a row of the dashboard are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from spikeserve.deploy.grafana.queries import Query

PLAIN = {"graphMode": "none"}
"""Options of a number without the line behind it."""


@dataclass(frozen=True)
class Override:
    """Field options of the series or columns whose name matches a regular expression."""

    names: str
    options: Mapping[str, Any]


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
    soft_max: float | None = None
    """Up to where the axis reaches at least; where it is not said, shares reach 1."""
    alarm: float | None = None
    """From where on the number is red: what the alert of the same thing waits for."""
    decimals: int | None = None
    repeated: bool = False
    """A panel for each chosen model, one below the other: models' buckets do not add up."""
    options: Mapping[str, Any] = field(default_factory=dict)
    overrides: tuple[Override, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    """What a table shows, in this order: labels, or ``Value``, and their headings."""


@dataclass(frozen=True)
class Row:
    title: str
    panels: tuple[Panel, ...]
