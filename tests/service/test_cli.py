"""``spikeserve`` and ``python -m service`` as a user types them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from spikeserve.models.shipped import ZOO
from spikeserve.service.cli import main
from spikeserve.service.settings import Settings


@pytest.fixture
def photo(tmp_path: Path, png: bytes) -> Path:
    path = tmp_path / "photo.png"
    path.write_bytes(png)
    return path


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
        (["serve", "--log-level", "loud"], "log_level"),
        (["serve", "--drain-delay-seconds", "inf"], "drain_delay_seconds"),
        (["serve", "--drain-seconds", f"1{'0' * 400}"], "drain_seconds"),
        (["serve", "--queue-timesteps", f"1{'0' * 400}"], "queue_timesteps"),
        (["serve", "--decode-threads", "1000000"], "decode_threads"),
        (["serve", "--api-keys", "secret"], "spikeserve key"),
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
    assert "secret" not in error


def test_a_misspelt_variable_is_named_and_the_file_that_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "spikeserve.toml"
    file.write_text("port = -1")
    monkeypatch.setenv("SPIKESERVE_CONFIG", str(file))
    monkeypatch.setenv("SPIKESERVE_SLOT", "8")
    monkeypatch.setenv("SPIKESERVE_SERVICE_HOST", "10.0.0.1")  # Kubernetes
    assert main(["serve"]) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first == "spikeserve: SPIKESERVE_SLOT is no setting; see --help"
    assert str(file) in second


def test_settings_file_environment_and_flags_in_that_order(
    bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "spikeserve.toml"
    file.write_text(f'slots = 3\nqueue_timesteps = 5\nport = 1\nbundles = ["{bundle_folder}"]\n')
    monkeypatch.setenv("SPIKESERVE_CONFIG", str(file))
    monkeypatch.setenv("SPIKESERVE_QUEUE_TIMESTEPS", "7")
    settings = Settings(port=2)
    assert (settings.slots, settings.queue_timesteps, settings.port) == (3, 7, 2)
    assert settings.bundles == (bundle_folder,)


def test_service_starts_where_torch_is_not_installed(bundle_folder: Path, photo: Path) -> None:
    """Hide torch and onnx from the import system, as on a machine without the train extra."""
    script = (
        "import sys; sys.modules['torch'] = sys.modules['onnx'] = None\n"
        "from spikeserve.service.cli import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", script, "classify", "--bundle", str(bundle_folder)]
    result = subprocess.run([*command, str(photo)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_bundles_that_ship_are_known_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "hybrid-vgg8-cifar100"
    assert Settings(bundles=(name,)).bundles == (ZOO / name,)
    monkeypatch.setenv("SPIKESERVE_BUNDLES", f"{name}{os.pathsep}elsewhere")
    assert Settings().bundles == (ZOO / name, Path("elsewhere"))


@pytest.mark.parametrize(("asked", "threads"), [({}, "1"), ({"OPENBLAS_NUM_THREADS": "3"}, "3")])
def test_numpy_has_one_core_unless_told_otherwise(asked: dict[str, str], threads: str) -> None:
    script = (
        "import os, sys, spikeserve.service.__main__\n"
        "assert 'numpy' not in sys.modules, 'it would have taken every core'\n"
        "print(os.environ['OPENBLAS_NUM_THREADS'])"
    )
    bare = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    run = subprocess.run(
        [sys.executable, "-c", script], env=bare | asked, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == threads
