"""The Grafana dashboard, ``spikeserve.json``, written by this module run as a program.

Lays out :mod:`spikeserve.deploy.grafana.panels` and spells it as Grafana's JSON. With ``--check``
nothing is written and drift from the checked-in file is an error.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from string import ascii_uppercase

from spikeserve.deploy.grafana import kinds
from spikeserve.deploy.grafana.kinds import Json
from spikeserve.deploy.grafana.panels import ROWS, Panel
from spikeserve.deploy.grafana.queries import SERVICE

FILE = Path(__file__).with_name("spikeserve.json")
COLUMNS = 24
COMMAND = "python -m spikeserve.deploy.grafana.dashboard"

DATASOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}
QUERY_FORMAT = {"heatmap": "heatmap", "bargauge": "heatmap", "table": "table"}


def dashboard() -> Json:
    """The dashboard as Grafana imports it."""
    return {
        "uid": "spikeserve",
        "title": "SpikeServe",
        "description": "Early exit, estimated energy, traffic and latency of SpikeServe.",
        "tags": ["spikeserve"],
        "schemaVersion": 42,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-15m", "to": "now"},
        "templating": {"list": list(_variables())},
        "panels": list(_panels()),
    }


def text() -> str:
    return json.dumps(dashboard(), indent=1) + "\n"


def _variables() -> Iterator[Json]:
    yield {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
    }
    yield _variable("job", "Job", "spikeserve_ready", ".+")
    yield _variable("instance", "Instance", 'spikeserve_ready{job=~"$job"}', ".+")
    # .* and not .+: a request refused before its model was known has an empty model label.
    yield _variable("model", "Model", f"spikeserve_model_info{{{SERVICE}}}", ".*")


def _variable(name: str, label: str, series: str, everything: str) -> Json:
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": f"label_values({series}, {name})", "refId": name},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": everything,
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def _panels() -> Iterator[Json]:
    """All panels, left to right and top to bottom, ids counting up."""
    identity = y = 0
    for row in ROWS:
        identity += 1
        yield {
            "id": identity,
            "type": "row",
            "title": row.title,
            "collapsed": False,
            "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1},
            "panels": [],
        }
        x, y, line_height = 0, y + 1, 0
        for panel in row.panels:
            if x + panel.width > COLUMNS:
                x, y, line_height = 0, y + line_height, 0
            identity += 1
            yield _panel(panel, identity, x, y)
            x, line_height = x + panel.width, max(line_height, panel.height)
        y += line_height


def _panel(panel: Panel, identity: int, x: int, y: int) -> Json:
    repeat: Json = {"repeat": "model", "repeatDirection": "v"} if panel.repeated else {}
    return {
        **repeat,
        "id": identity,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": DATASOURCE,
        "gridPos": {"x": x, "y": y, "w": panel.width, "h": panel.height},
        "fieldConfig": {"defaults": kinds.defaults(panel), "overrides": kinds.overrides(panel)},
        "options": kinds.options(panel),
        "transformations": kinds.transformations(panel),
        "targets": [
            {
                "refId": reference,
                "datasource": DATASOURCE,
                "expr": query.expr,
                "legendFormat": query.legend,
                "format": QUERY_FORMAT.get(panel.kind, "time_series"),
                "instant": panel.kind == "table",
                "range": panel.kind != "table",
            }
            for reference, query in zip(ascii_uppercase, panel.queries, strict=False)
        ],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail if the file is out of date")
    if parser.parse_args().check:
        if FILE.read_text(encoding="utf-8") != text():
            print(
                f"{FILE} is stale; run: {COMMAND}",
                file=sys.stderr,
            )
            return 1
    else:
        FILE.write_text(text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
