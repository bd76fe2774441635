"""What Grafana wants to know of a panel besides its queries, by kind.

Everything that its schema calls necessary is said, so that no release's defaults decide.
"""

from __future__ import annotations

from typing import Any

from spikeserve.deploy.grafana.panels.panel import Panel

Json = dict[str, Any]
LAST_VALUE: Json = {"calcs": ["lastNotNull"], "fields": "", "values": False}
LEGEND: Json = {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": True}
OPTIONS: dict[str, Json] = {
    "timeseries": {"legend": LEGEND, "tooltip": {"mode": "multi", "sort": "desc"}},
    "stat": {
        "reduceOptions": LAST_VALUE,
        "orientation": "auto",
        "colorMode": "value",
        "graphMode": "area",
        "justifyMode": "auto",
        "textMode": "auto",
        "wideLayout": True,
        "showPercentChange": False,
        "percentChangeColorMode": "standard",
    },
    "heatmap": {
        "calculate": False,
        "cellGap": 1,
        "cellValues": {"unit": "ops"},
        "color": {
            "mode": "scheme",
            "scheme": "Oranges",
            "steps": 64,
            "exponent": 0.5,
            "fill": "dark-orange",
            "reverse": False,
        },
        "exemplars": {"color": "rgba(255,0,255,0.7)"},
        "filterValues": {"le": 1e-9},
        "legend": {"show": False},
        "showValue": "never",
        "tooltip": {"mode": "single", "yHistogram": True},
    },
    "bargauge": {
        "reduceOptions": {**LAST_VALUE, "calcs": ["mean"]},
        "orientation": "vertical",
        "displayMode": "basic",
        "legend": {**LEGEND, "showLegend": False},
        "namePlacement": "auto",
        "showUnfilled": True,
        "sizing": "auto",
        "minVizWidth": 8,
        "minVizHeight": 16,
        "maxVizHeight": 300,
        "valueMode": "color",
    },
    "table": {"showHeader": True, "frameIndex": 0, "cellHeight": "sm"},
}
PALETTE: Json = {"mode": "palette-classic"}
COLOURS: dict[str, Json] = {"bargauge": {"mode": "fixed", "fixedColor": "orange"}}
"""Where it is not the palette. Grafana's own choice turns every number above 80 red."""


def options(panel: Panel) -> Json:
    """How the panel looks."""
    axis: Json = {"yAxis": _number(panel)} if panel.kind == "heatmap" else {}
    return {**OPTIONS[panel.kind], **axis, **panel.options}


def defaults(panel: Panel) -> Json:
    """How its numbers look."""
    field = {**_number(panel), "color": COLOURS.get(panel.kind, PALETTE)}
    if panel.alarm is not None:
        steps = [{"color": "green", "value": None}, {"color": "red", "value": panel.alarm}]
        field["color"] = {"mode": "thresholds"}
        field["thresholds"] = {"mode": "absolute", "steps": steps}
    if panel.kind == "bargauge":
        field |= {"min": 0, "max": 1}
    if panel.kind == "timeseries":
        field["custom"] = _lines(panel)
    return field


def overrides(panel: Panel) -> list[Json]:
    """How some of them look otherwise."""
    return [
        {
            "matcher": {"id": "byRegexp", "options": f"/{override.names}/"},
            "properties": [
                {"id": name, "value": value} for name, value in override.options.items()
            ],
        }
        for override in panel.overrides
    ]


def transformations(panel: Panel) -> list[Json]:
    """A table's columns in order and under their headings; the time of the query says nothing."""
    if not panel.columns:
        return []
    chosen = {
        "excludeByName": {"Time": True},
        "indexByName": {name: index for index, name in enumerate(panel.columns)},
        "renameByName": dict(panel.columns),
    }
    return [{"id": "organize", "options": chosen}]


def _number(panel: Panel) -> Json:
    decimals = {} if panel.decimals is None else {"decimals": panel.decimals}
    return {"unit": panel.unit, **decimals}


def _lines(panel: Panel) -> Json:
    soft_max = 1 if panel.soft_max is None and panel.unit == "percentunit" else panel.soft_max
    return {
        "axisSoftMin": 0,
        **({} if soft_max is None else {"axisSoftMax": soft_max}),
        "fillOpacity": 30 if panel.stacked else 5,
        "showPoints": "never",
        "stacking": {"group": "A", "mode": "normal" if panel.stacked else "none"},
    }
