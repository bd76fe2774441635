"""The examples of docs/IMPORT.md with the real frameworks: train, import, serve, classify.

Each framework has a virtual environment of its own. A variable names its Python, for example
SPIKESERVE_SNNTORCH_PYTHON, in which ``spikeserve[train,import]`` can run, too; or
SPIKESERVE_FRAMEWORKS names a folder in which environments are made, with what pip downloads.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from spikeserve.importing.cli import main
from spikeserve.service.app import create_app
from spikeserve.service.settings import Settings

ROOT = Path(__file__).parents[3]
DOCUMENT = (ROOT / "docs" / "IMPORT.md").read_text(encoding="utf-8")
FRAMEWORKS = {"snntorch": 8, "spikingjelly": 6, "sinabs": 8, "norse": 12}
"""Timesteps of each."""
OURS = [f"{ROOT}[train,import]", "torch==2.13.0", "torchvision"]
NIR = ["nir==1.0.8", "nirtorch==2.6"]
REQUIREMENTS = {
    "snntorch": [*OURS, "snntorch==1.0.0", *NIR],
    "spikingjelly": [*OURS, "spikingjelly==2.0.0", *NIR],
    "sinabs": [*OURS, "sinabs==3.1.3", "nir<=1.0.4"],
    "norse": ["--no-build-isolation", *OURS, "norse==1.1.0", *NIR],
}
REQUESTS, AGREEMENT = 100, 0.95
LIMIT_S = 600

pytestmark = pytest.mark.verify


def scripts() -> dict[str, str]:
    blocks = re.findall(r"^```python\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)
    return {block.partition("\n")[0].split()[1].strip(":"): block for block in blocks}


def command(framework: str) -> list[str]:
    """What the document says after ``spikeserve``."""
    line = re.search(rf"^spikeserve (import .*--from {framework} .*)$", DOCUMENT, re.MULTILINE)
    assert line is not None
    return shlex.split(line[1])


def python_of(framework: str) -> str:
    named = os.environ.get(f"SPIKESERVE_{framework.upper()}_PYTHON")
    if named:
        return named
    folder = os.environ.get("SPIKESERVE_FRAMEWORKS")
    if not folder:
        pytest.skip(
            f"neither SPIKESERVE_{framework.upper()}_PYTHON nor SPIKESERVE_FRAMEWORKS is set"
        )
    return str(environment_of(framework, Path(folder)))


def environment_of(framework: str, folder: Path) -> Path:
    """The Python of an environment, which is made where it is not there."""
    home = folder / framework
    python, complete = home / "bin" / "python", home / "complete"
    if not complete.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
        for requirements in (
            ["setuptools>=77", "setuptools_scm>=8", "wheel"],
            REQUIREMENTS[framework],
        ):
            subprocess.run([python, "-m", "pip", "install", "-q", *requirements], check=True)
        complete.touch()
    return python


def ran(python: str, folder: Path, *arguments: str) -> None:
    """Run an example where the document's files lie."""
    for name, text in scripts().items():
        (folder / name).write_text(text, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [python, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def served_classes(bundle: Path, images: np.ndarray) -> list[int]:
    """The answers after all timesteps, over HTTP."""
    found = []
    with TestClient(create_app(Settings(bundles=(bundle,)))) as client:
        for image in images:
            file = io.BytesIO()
            Image.fromarray(image[..., 0]).save(file, "PNG")
            answer = client.post(
                "/classify",
                content=file.getvalue(),
                headers={"Content-Type": "image/png"},
                params={"entropy_threshold": "0"},
            )
            assert answer.status_code == 200, answer.text
            found.append(int(answer.json()["top_k"][0]["label"]))
    return found


def check_served(bundle: Path, folder: Path) -> None:
    """What is served is what the framework itself answered."""
    golden = np.load(folder / "golden.npy")
    images = np.load(folder / "images.npy")[:REQUESTS]
    sums = golden[:, :REQUESTS].sum(axis=0)
    clear = (np.sort(sums, axis=1)[:, -1] - np.sort(sums, axis=1)[:, -2]) > 0
    assert clear.mean() > 0.5
    classes = np.asarray(served_classes(bundle, images))
    agreement = (classes == sums.argmax(axis=1))[clear].mean()
    assert agreement >= AGREEMENT


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_file_of_the_frameworks_exporter(
    framework: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ran(python_of(framework), tmp_path, f"{framework}_net.py")
    monkeypatch.chdir(tmp_path)
    assert main(["check", "net.nir"]) == 0
    assert main(command(framework)) == 0
    assert "of 64 identical" in capsys.readouterr().out
    check_served(tmp_path / framework, tmp_path)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_module_itself(framework: str, tmp_path: Path) -> None:
    python = python_of(framework)
    ran(python, tmp_path, "convert.py", f"{framework}_net.py", str(FRAMEWORKS[framework]))
    check_served(tmp_path / "converted", tmp_path)
