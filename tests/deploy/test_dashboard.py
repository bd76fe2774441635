"""The dashboard file is current, well laid out, and asks only for what the service exports."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

from spikeserve.deploy.grafana import dashboard
from spikeserve.deploy.grafana.panels import ROWS
from spikeserve.service.metrics import Metrics
from spikeserve.service.model_histogram import ModelHistogram

PANELS: list[dict[str, Any]] = dashboard.dashboard()["panels"]
CHARTS = [panel for panel in PANELS if panel["type"] != "row"]
EXPRESSIONS = sorted({q.expr for row in ROWS for panel in row.panels for q in panel.queries})

METRIC = re.compile(r"\b(?:(?:spikeserve|process)_\w+|up)\b")
SELECTOR = re.compile(r"(\w+)\{([^}]*)\}")
MATCHER = re.compile(r'(\w+)(?:=~|!~|!=|=)"')
GROUPING = re.compile(r"\bby \(([^)]*)\)")
RULES = Path(__file__).parents[2] / "deploy" / "prometheus" / "rules.yml"
ALERTS = {
    "Slowest 1 %": "SpikeServeSlow",
    "Turned away": "SpikeServeRejectsMany",
    "Failed": "SpikeServeErrors",
}
TARGET_LABELS = {"job", "instance"}
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


def exported() -> dict[str, set[str]]:
    """Every sample name the service can export, with its labels."""
    metrics = Metrics()
    samples: dict[str, set[str]] = {"up": set()}  # Prometheus's own, of every target
    samples |= {
        sample.name: set(sample.labels)
        for family in metrics.registry.collect()
        if family.name.startswith("process_")
        for sample in family.samples
    }
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase | ModelHistogram):
            (family,) = metric.collect()
            for suffix in SUFFIXES[family.type]:
                labels = {"le"} if suffix == "_bucket" else set()
                samples[family.name + suffix] = labels.union(metric._labelnames)
    return samples


EXPORTED = exported()


def test_the_checked_in_file_is_current() -> None:
    assert dashboard.FILE.read_text() == dashboard.text(), f"run: {dashboard.COMMAND}"


def test_ids_are_unique() -> None:
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    for panel in CHARTS:
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references) > 0


def test_what_an_operator_asks_first_comes_first() -> None:
    glance, *numbers, _ = PANELS[:8]
    assert glance["title"] == "At a glance"
    assert {panel["type"] for panel in numbers} == {"stat"}
    assert PANELS[7]["title"] == "Early exit"


def test_a_number_is_red_only_where_an_alert_waits_for_it() -> None:
    """Grafana's own thresholds turn whatever is above 80 red."""
    alerts = {
        rule["alert"]: rule["expr"]
        for group in yaml.safe_load(RULES.read_text())["groups"]
        for rule in group["rules"]
    }
    coloured = {}
    for panel in CHARTS:
        defaults = panel["fieldConfig"]["defaults"]
        if defaults["color"]["mode"] == "thresholds":
            coloured[panel["title"]] = defaults["thresholds"]["steps"][-1]
    assert coloured.keys() == ALERTS.keys()
    for title, alert in ALERTS.items():
        assert coloured[title]["color"] == "red"
        assert f"> {coloured[title]['value']}" in alerts[alert]


def test_tables_show_columns_that_exist() -> None:
    for panel in (panel for row in ROWS for panel in row.panels if panel.kind == "table"):
        (query,) = panel.queries
        assert panel.columns.keys() == {*grouped(query.expr), "Value"}


def test_panels_lie_on_the_grid_and_do_not_overlap() -> None:
    for panel in PANELS:
        assert 0 <= panel["gridPos"]["x"] <= dashboard.COLUMNS - panel["gridPos"]["w"]
    for a, b in itertools.combinations([panel["gridPos"] for panel in PANELS], 2):
        assert (
            a["x"] + a["w"] <= b["x"]
            or b["x"] + b["w"] <= a["x"]
            or a["y"] + a["h"] <= b["y"]
            or b["y"] + b["h"] <= a["y"]
        )


@pytest.mark.parametrize("panel", CHARTS, ids=lambda panel: panel["title"])
def test_a_panel_explains_itself(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"]
    assert panel["fieldConfig"]["defaults"]["unit"]


@pytest.mark.parametrize("panel", CHARTS, ids=lambda panel: panel["title"])
def test_energy_is_called_an_estimate(panel: dict[str, Any]) -> None:
    if "energy" in json.dumps(panel["targets"]):
        assert panel["title"].startswith("Estimated")


def test_panel_titles_are_unique() -> None:
    titles = [panel["title"] for panel in CHARTS]
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize("expr", EXPRESSIONS)
def test_metrics_and_labels_exist(expr: str) -> None:
    names = set(METRIC.findall(expr))
    assert names
    assert names <= EXPORTED.keys()
    labels = set(TARGET_LABELS).union(*(EXPORTED[name] for name in names))
    assert labels.issuperset(grouped(expr))
    for name, matchers in SELECTOR.findall(expr):
        used = set(MATCHER.findall(matchers))
        assert TARGET_LABELS <= used <= TARGET_LABELS | EXPORTED[name]


@pytest.mark.parametrize("expr", EXPRESSIONS)
def test_counters_are_only_read_through_rate(expr: str) -> None:
    for match in METRIC.finditer(expr):
        if match[0].endswith(("_total", "_bucket", "_sum", "_count")):
            assert expr[: match.start()].endswith("rate(")
            assert re.match(r"\{[^}]*\}\[\$__rate_interval\]\)", expr[match.end() :])


def grouped(expr: str) -> Iterator[str]:
    for labels in GROUPING.findall(expr):
        yield from labels.split(", ")


def test_every_metric_of_the_service_is_on_the_dashboard() -> None:
    def families(names: Iterable[str]) -> set[str]:
        return {
            re.sub(r"_(bucket|sum|count)$", "", name)
            for name in names
            if name.startswith("spikeserve_")
        }

    shown = {name for expr in EXPRESSIONS for name in METRIC.findall(expr)}
    assert families(shown) == families(EXPORTED)


def test_check_fails_on_drift(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    copy = tmp_path / "spikeserve.json"
    monkeypatch.setattr(dashboard, "FILE", copy)
    monkeypatch.setattr("sys.argv", ["dashboard"])
    assert dashboard.main() == 0
    monkeypatch.setattr("sys.argv", ["dashboard", "--check"])
    assert dashboard.main() == 0
    copy.write_text("{}")
    assert dashboard.main() == 1
    assert "is stale" in capsys.readouterr().err
