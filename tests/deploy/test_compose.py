"""The compose file, the image and the provisioning agree with each other and with the service."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from spikeserve.deploy.grafana.dashboard import dashboard
from spikeserve.service.server import LAST_WORDS_S
from spikeserve.service.settings import Settings

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def load(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text())


COMPOSE = load("docker-compose.yml")
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


@pytest.mark.parametrize("name", SERVICES)
def test_containers_are_confined(name: str) -> None:
    container = SERVICES[name]
    assert container["cap_drop"] == ["ALL"]
    assert container["security_opt"] == ["no-new-privileges:true"]
    assert all(port.startswith("127.0.0.1:") for port in container["ports"])
    assert container["healthcheck"]["test"][0] == "CMD"


def test_the_service_writes_nowhere_but_tmp() -> None:
    assert SERVICES["service"]["read_only"] is True
    assert SERVICES["service"]["tmpfs"] == ["/tmp"]


def test_foreign_images_are_pinned() -> None:
    foreign = [c["image"] for c in SERVICES.values() if "build" not in c]
    assert len(foreign) == 2
    assert all(re.fullmatch(r"[\w/]+:v?\d+\.\d+\.\d+", image) for image in foreign)


def test_docker_waits_for_the_drain() -> None:
    grace = int(SERVICES["service"]["stop_grace_period"].removesuffix("s"))
    fields = Settings.model_fields
    drain = fields["drain_delay_seconds"].default + fields["drain_seconds"].default
    assert grace >= drain + LAST_WORDS_S + 10


def test_the_compose_file_holds_no_secrets() -> None:
    assert not re.search(r"password|secret_key|token", json.dumps(COMPOSE), re.IGNORECASE)


def test_mounted_files_exist() -> None:
    for container in SERVICES.values():
        for volume in container.get("volumes", ()):
            source = volume.split(":")[0]
            assert source in COMPOSE["volumes"] or (ROOT / source).exists()


def test_prometheus_scrapes_the_service() -> None:
    config = load("deploy/prometheus/prometheus.yml")
    (job,) = config["scrape_configs"]
    port = Settings.model_fields["port"].default
    assert job["static_configs"] == [{"targets": [f"service:{port}"]}]
    (datasource,) = load("deploy/grafana/provisioning/datasources/prometheus.yml")["datasources"]
    assert datasource["jsonData"]["timeInterval"] == config["global"]["scrape_interval"]
    assert datasource["url"] == "http://prometheus:9090"


def test_grafana_finds_the_dashboard() -> None:
    (provider,) = load("deploy/grafana/provisioning/dashboards/spikeserve.yml")["providers"]
    grafana = SERVICES["grafana"]
    home = Path(grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert str(home.parent) == provider["options"]["path"]
    assert f"./deploy/grafana/spikeserve.json:{home}:ro" in grafana["volumes"]
    assert json.loads((ROOT / "deploy/grafana/spikeserve.json").read_text()) == dashboard()


def test_the_image_runs_the_service_as_nobody_in_particular() -> None:
    assert re.search(r"^USER [1-9]\d+:[1-9]\d+$", DOCKERFILE, re.MULTILINE)
    assert 'CMD ["spikeserve", "serve"]' in DOCKERFILE
    assert "STOPSIGNAL SIGTERM" in DOCKERFILE
    assert DOCKERFILE.index("USER") < DOCKERFILE.index("HEALTHCHECK")
    environment = set(re.findall(r"SPIKESERVE_(\w+)=", DOCKERFILE))
    assert {name.lower() for name in environment} <= Settings.model_fields.keys()


def test_only_what_is_installed_reaches_the_image() -> None:
    everything, *allowed = [
        line
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    assert everything == "*"
    for name in (line.removeprefix("!") for line in allowed if line.startswith("!")):
        assert (ROOT / name).exists()
