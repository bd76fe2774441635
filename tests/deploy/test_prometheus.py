"""A real Prometheus scrapes a live service: every dashboard query and alert rule works."""

from __future__ import annotations

import math
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml

from spikeserve.deploy.grafana.panels import ROWS
from tests.conftest import encoded
from tests.processes import free_port, running, running_service, wait_until

pytestmark = pytest.mark.verify

CONFIG = Path(__file__).parents[2] / "deploy" / "prometheus"
EXPRESSIONS = sorted({q.expr for row in ROWS for panel in row.panels for q in panel.queries})
VARIABLES = {"$__rate_interval": "1m", "$job": "spikeserve", "$instance": ".+", "$model": ".*"}
REQUESTS = 200
PAUSE_SECONDS = 0.02  # the load must span several scrapes


def program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.fail(f"{name} is not installed; on Debian: apt-get install prometheus")
    return path


def promtool(*arguments: str, text: str | None = None) -> None:
    """Run promtool; its findings are the failure."""
    done = subprocess.run(
        [program("promtool"), *arguments],
        cwd=CONFIG,
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def service(
    bundle_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    log = tmp_path_factory.mktemp("service") / "log"
    with running_service(bundle_folder, log) as client:
        yield client


@pytest.fixture(scope="module")
def prometheus(
    service: httpx.Client, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    """The shipped configuration, faster and aimed at the live service."""
    folder, port = tmp_path_factory.mktemp("prometheus"), free_port()
    config = yaml.safe_load((CONFIG / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(CONFIG / name) for name in config["rule_files"]]
    target = f"{service.base_url.host}:{service.base_url.port}"
    config["scrape_configs"][0]["static_configs"] = [{"targets": [target]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    command = [
        program("prometheus"),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with running(command, port, "/-/ready", folder / "log") as client:
        yield client


def values(prometheus: httpx.Client, expr: str) -> list[float]:
    answer = prometheus.get("/api/v1/query", params={"query": expr})
    assert answer.status_code == httpx.codes.OK, answer.text
    result: list[dict[str, Any]] = answer.json()["data"]["result"]
    return [float(series["value"][1]) for series in result]


@pytest.fixture(scope="module")
def loaded(
    service: httpx.Client,
    prometheus: httpx.Client,
    images: np.ndarray[tuple[int, ...], np.dtype[np.uint8]],
) -> httpx.Client:
    """Prometheus, once it has seen ``REQUESTS`` classifications."""
    wait_until(lambda: values(prometheus, "up") == [1], "the service was never scraped")
    pictures = [encoded(pixels) for pixels in images]
    for k in range(REQUESTS):
        answer = service.post(
            "/classify",
            content=pictures[k % len(pictures)],
            headers={"Content-Type": "image/png"},
        )
        assert answer.status_code == httpx.codes.OK, answer.text
        time.sleep(PAUSE_SECONDS)
    wait_until(
        lambda: values(prometheus, "sum(spikeserve_inferences_total)") == [REQUESTS],
        f"{REQUESTS} inferences were never counted",
    )
    return prometheus


@pytest.mark.parametrize("expr", EXPRESSIONS)
def test_a_dashboard_query_has_an_answer(expr: str, loaded: httpx.Client) -> None:
    for name, value in VARIABLES.items():
        expr = expr.replace(name, value)
    found = values(loaded, expr)
    assert any(math.isfinite(value) for value in found), f"{expr}: {found}"


@pytest.mark.parametrize(
    ("expr", "least", "most"),
    [
        ("spikeserve_inference_timesteps_sum / spikeserve_inference_timesteps_count", 1, 16),
        ("spikeserve_energy_joules_total / spikeserve_energy_baseline_joules_total", 0, 1),
        ("spikeserve_requests_queued", 0, 0),
        ("spikeserve_ready", 1, 1),
    ],
)
def test_numbers_are_plausible(expr: str, least: float, most: float, loaded: httpx.Client) -> None:
    (value,) = values(loaded, expr)
    assert least <= value <= most


def test_rules_evaluate_and_stay_quiet_on_a_healthy_service(loaded: httpx.Client) -> None:
    def groups() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = loaded.get("/api/v1/rules").json()["data"]["groups"]
        return found

    wait_until(
        lambda: all(rule["health"] != "unknown" for group in groups() for rule in group["rules"]),
        "some rule was never evaluated",
    )
    rules = [rule for group in groups() for rule in group["rules"]]
    assert rules
    assert {(rule["health"], rule["state"]) for rule in rules} == {("ok", "inactive")}


@pytest.mark.usefixtures("loaded")
def test_promtool_accepts_the_metrics(service: httpx.Client) -> None:
    promtool("check", "metrics", text=service.get("/metrics").text)


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", "prometheus.yml"),
        ("check", "rules", "rules.yml"),
        ("test", "rules", "rules.test.yml"),
    ],
    ids=" ".join,
)
def test_promtool_accepts(arguments: tuple[str, ...]) -> None:
    promtool(*arguments)
