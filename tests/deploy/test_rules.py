"""Alerts ask for what the service exports, and look at every way in."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from spikeserve.service.metrics import ENDPOINTS
from tests.deploy.test_dashboard import EXPORTED, MATCHER, METRIC
from tests.deploy.test_prometheus import promtool

FOLDER = Path(__file__).parents[2] / "deploy" / "prometheus"
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((FOLDER / "rules.yml").read_text())["groups"]
    for rule in group["rules"]
]
SELECTOR = re.compile(r"(\w+)\{(.*?)\}(?=[\[ )]|$)", re.DOTALL)
ENDPOINT = re.compile(r'endpoint=~"([^"]*)"')


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_metrics_and_labels_exist(rule: dict[str, Any]) -> None:
    names = set(METRIC.findall(rule["expr"]))
    assert names
    assert names <= EXPORTED.keys()
    for name, matchers in SELECTOR.findall(rule["expr"]):
        assert set(MATCHER.findall(matchers)) <= EXPORTED[name] | {"job"}, name


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_way_in_is_looked_at(rule: dict[str, Any]) -> None:
    """Or none by name: what is singled out leaves others in the dark."""
    assert 'endpoint="' not in rule["expr"]
    for pattern in ENDPOINT.findall(rule["expr"]):
        assert all(re.fullmatch(pattern, endpoint) for endpoint in ENDPOINTS)
        assert not any(re.fullmatch(pattern, other) for other in ("/livez", "/readyz", "other"))


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")
def test_rules_do_what_their_tests_say() -> None:
    promtool("test", "rules", "rules.test.yml")
