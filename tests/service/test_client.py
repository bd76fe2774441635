"""The Python client against a running service."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from spikeserve.service.client import AsyncSpikeServeClient, SpikeServeClient, SpikeServeError
from spikeserve.service.schemas import Classification
from spikeserve.service.stream_schemas import Timestep
from tests.processes import running_service


@pytest.fixture(scope="module")
def server(bundle_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("service") / "log"
    with running_service(bundle_folder, log) as client:
        yield str(client.base_url)


def test_client_against_the_running_service(server: str, png: bytes, tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(png)
    with SpikeServeClient(server) as client:
        answer = client.classify(photo, entropy_threshold=1.0, top_k=3)
        assert (answer.timesteps_used, len(answer.top_k)) == (1, 3)
        assert client.classify(png, entropy_threshold=0).timesteps_used == 4
        assert [model.name for model in client.models().models] == ["tiny"]
        with pytest.raises(SpikeServeError, match=r"404: no model 'x'") as refusal:
            client.classify(photo, model="x")
        assert refusal.value.status == 404
        curve = client.calibration("tiny").curve
        assert curve[0].average_timesteps >= curve[-1].average_timesteps
        with pytest.raises(TypeError, match=r"Path\('photo.png'\)"):
            client.classify("photo.png")  # type: ignore[arg-type]
        batch = client.classify_batch([png, b"text", photo], max_timesteps=2)
        assert [item.status for item in batch.results] == [200, 415, 200]


def test_streaming(server: str, png: bytes) -> None:
    with SpikeServeClient(server) as client:
        *steps, result = client.stream(png, entropy_threshold=0)
        assert [step.t for step in steps if isinstance(step, Timestep)] == [1, 2, 3, 4]
        assert isinstance(result, Classification)
        assert result.timesteps_used == 4
        first, *_ = client.stream(png, detail="spikes")
        assert isinstance(first, Timestep)
        assert first.detail
        assert first.detail.layers[0].spikes <= first.spikes
        with pytest.raises(SpikeServeError, match="415"):
            list(client.stream(b"text"))


async def _classify(url: str, image: bytes) -> int:
    async with AsyncSpikeServeClient(url) as client:
        assert (await client.models()).models[0].default
        assert (await client.calibration("tiny", "1")).version == "1"
        assert len((await client.classify_batch([image] * 3)).results) == 3
        events = [event async for event in client.stream(image, max_timesteps=2)]
        assert isinstance(events[-1], Classification)
        return (await client.classify(image, max_timesteps=2, entropy_threshold=0)).timesteps_used


def test_async_client(server: str, png: bytes) -> None:
    assert asyncio.run(_classify(server, png)) == 2


def test_client_reports_retry_after() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        del request
        return httpx.Response(429, headers={"Retry-After": "3"}, json={"detail": "full"})

    client = SpikeServeClient(transport=httpx.MockTransport(refuse))
    with pytest.raises(SpikeServeError, match="429: full") as refusal:
        client.classify(b"x")
    assert refusal.value.retry_after == 3
