"""``spikeserve`` and ``python -m service`` as a user types them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.cli import main
from service.client import AsyncSpikeServeClient, SpikeServeClient, SpikeServeError
from service.settings import Settings
from tests.processes import running_service


@pytest.fixture
def photo(tmp_path: Path, png: bytes) -> Path:
    path = tmp_path / "photo.png"
    path.write_bytes(png)
    return path


@pytest.fixture(scope="module")
def server(bundle_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("service") / "log"
    with running_service(bundle_folder, log) as client:
        yield str(client.base_url)


def test_client_against_the_running_service(server: str, photo: Path, png: bytes) -> None:
    with SpikeServeClient(server) as client:
        answer = client.classify(photo, entropy_threshold=1.0, top_k=3)
        assert (answer.timesteps_used, len(answer.top_k)) == (1, 3)
        assert client.classify(png, entropy_threshold=0).timesteps_used == 4
        assert [model.name for model in client.models().models] == ["tiny"]
        with pytest.raises(SpikeServeError, match=r"404: no model 'x'") as refusal:
            client.classify(photo, model="x")
        assert refusal.value.status == 404


async def _classify(url: str, image: bytes) -> int:
    async with AsyncSpikeServeClient(url) as client:
        assert (await client.models()).models[0].default
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


def test_classify_prints_a_table(
    bundle_folder: Path,
    photo: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    arguments = ["classify", "--bundle", str(bundle_folder), "--entropy-threshold", "0"]
    assert main([*arguments, str(photo)]) == 0
    output = capsys.readouterr().out
    assert "photo.png" in output
    assert "4/4" in output
    assert "█" in output
    assert "µJ" in output


def test_classify_goes_on_after_a_bad_file(
    bundle_folder: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "notes.txt"
    bad.write_text("no picture")
    status = main(["classify", "--bundle", str(bundle_folder), str(bad), str(photo)])
    captured = capsys.readouterr()
    assert status == 1
    assert "notes.txt: not a JPEG" in captured.err
    assert "photo.png" in captured.out


def test_models_lists_bundles(bundle_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--bundle", str(bundle_folder)]) == 0
    assert "tiny" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["serve", "--bundle", "/nowhere"], "manifest.json cannot be read"),
        (["serve", "--port", "99999"], "port"),
        (["serve", "--engine", "abacus"], "engine"),
        (["models", "--log-level", "loud"], "log_level"),
    ],
)
def test_refusals_at_start_are_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("spikeserve: ")
    assert message in error
    assert error.count("\n") == 1


def test_settings_file_environment_and_flags_in_that_order(
    bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "spikeserve.toml"
    file.write_text(f'slots = 3\nqueue_capacity = 5\nport = 1\nbundles = ["{bundle_folder}"]\n')
    monkeypatch.setenv("SPIKESERVE_CONFIG", str(file))
    monkeypatch.setenv("SPIKESERVE_QUEUE_CAPACITY", "7")
    settings = Settings(port=2)
    assert (settings.slots, settings.queue_capacity, settings.port) == (3, 7, 2)
    assert settings.bundles == (bundle_folder,)


def test_service_starts_where_torch_is_not_installed(bundle_folder: Path, photo: Path) -> None:
    """Hide torch and onnx from the import system, as on a machine without the train extra."""
    script = (
        "import sys; sys.modules['torch'] = sys.modules['onnx'] = None\n"
        "from service.cli import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", script, "classify", "--bundle", str(bundle_folder)]
    result = subprocess.run([*command, str(photo)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
