"""What of the dashboard's proof needs no npm: its TypeScript, its visitors, its pins."""

from __future__ import annotations

import asyncio
import json
import random
import re
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml

from benchmarks.grafana import visitors
from benchmarks.grafana.typed import typed
from spikeserve.deploy.grafana.dashboard import dashboard
from spikeserve.service.client import AsyncSpikeServeClient
from tests.processes import running_service

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "benchmarks" / "grafana"
PINNED: dict[str, str] = json.loads((FOLDER / "package.json").read_text())["dependencies"]
LOCK: dict[str, Any] = json.loads((FOLDER / "package-lock.json").read_text())


def test_every_panel_is_compared_with_the_type_of_its_kind() -> None:
    document = dashboard()
    found = re.findall(r"^const panel(\d+): (.+?) = (\{.*?^\});$", typed(document), re.M | re.S)
    assert [json.loads(text) for _, _, text in found] == document["panels"]
    for (number, kind, _), panel in zip(found, document["panels"], strict=True):
        assert int(number) == panel["id"]
        assert kind == ("Row" if panel["type"] == "row" else f'Chart<"{panel["type"]}">')


def test_the_envelope_is_compared_too() -> None:
    document = dashboard()
    (text,) = re.findall(r"^export const board: Board = (\{.*^\});$", typed(document), re.M | re.S)
    names, rest = re.fullmatch(r"\{\s*panels: \[(.*?)\],(.*)", text, re.S).groups()  # type: ignore[union-attr]
    assert names.split(", ") == [f"panel{panel['id']}" for panel in document["panels"]]
    assert json.loads("{" + rest) | {"panels": document["panels"]} == document


def test_packages_are_pinned_and_no_host_is_recorded() -> None:
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in PINNED.values())
    assert LOCK["packages"][""]["dependencies"] == PINNED
    assert not any("resolved" in package for package in LOCK["packages"].values())


def test_the_types_are_those_of_the_grafana_that_compose_starts() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    assert compose["services"]["grafana"]["image"] == f"grafana/grafana:{PINNED['@grafana/schema']}"


@pytest.fixture(scope="module")
def answered(
    bundle_folder: Path,
    images: np.ndarray[tuple[int, ...], np.dtype[np.uint8]],
    tmp_path_factory: pytest.TempPathFactory,
) -> str:
    """The service's metrics once every kind of visitor was there."""
    pictures = visitors.files(images)

    async def everybody(base: httpx.URL, model: str) -> None:
        async with (
            httpx.AsyncClient(base_url=base, trust_env=False) as http,
            AsyncSpikeServeClient(str(base)) as client,
        ):
            guests = visitors.Guests(
                base.host,
                base.port or 0,
                {model: pictures},
                pictures,
                random.Random(0),
                client,
                http,
            )
            for who in visitors.PER_SECOND:
                await visitors.forgiven(who, guests)

    with running_service(bundle_folder, tmp_path_factory.mktemp("service") / "log") as client:
        (model,) = client.get("/v1/models").json()["models"]
        asyncio.run(everybody(client.base_url, model["name"]))
        return client.get("/metrics").text


@pytest.mark.parametrize(
    ("endpoint", "code"),
    [
        ("/classify", "200"),
        ("/classify", "4.."),
        ("/classify/stream", "200"),
        ("/classify/batch", "200"),
        ("/v2/models/{name}/infer", "200"),
    ],
)
def test_visitors_come_every_way_and_some_in_vain(endpoint: str, code: str, answered: str) -> None:
    series = (
        rf'^spikeserve_requests_total{{code="{code}",endpoint="{re.escape(endpoint)}",.*}} [1-9]'
    )
    assert re.search(series, answered, re.M)
