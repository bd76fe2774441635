"""The wheel where nobody knows us: a fresh environment without torch, and a folder with names
like ours. Needs a package index."""

from __future__ import annotations

import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.processes import free_port, running
from tests.wheels import ROOT, build_context, built

pytestmark = pytest.mark.verify

THREE_LINES = """
import spikeserve
model = spikeserve.load("early-exit-vgg8-cifar10")
print(model.classify("cat.jpg").label, spikeserve.__version__, spikeserve.__file__)
"""


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_context(tmp_path_factory.mktemp("build") / "context")


@pytest.fixture(scope="module")
def wheel(context: Path) -> Path:
    return built("wheel", context, context.parent / "wheel")[0]


@pytest.fixture(scope="module")
def binaries(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the commands lie of an environment that holds the wheel and what serving needs."""
    folder = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(folder, with_pip=True)
    pip = (folder / "bin" / "python", "-m", "pip", "install", "--quiet")
    subprocess.run([*pip, "--constraint", ROOT / "constraints.txt", wheel], check=True)
    return folder / "bin"


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A research folder: modules of its own with the names of our folders, and a picture."""
    folder = tmp_path_factory.mktemp("research")
    for module in ("models.py", "deploy.py", "service/__init__.py", "training/__init__.py"):
        (folder / module).parent.mkdir(exist_ok=True)
        (folder / module).write_text("raise ImportError('this one is not yours')\n")
    (folder / "cat.jpg").write_bytes((ROOT / "docs" / "cat.jpg").read_bytes())
    return folder


@pytest.fixture
def run(elsewhere: Path, binaries: Path) -> Iterator[Run]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(elsewhere)
        patch.delenv("PYTHONPATH", raising=False)
        patch.setenv("NUMBA_CACHE_DIR", str(binaries.parent / "kernels"))  # goes with it
        patch.setenv("COLUMNS", "140")
        yield Run(binaries)


class Run:
    """Commands of the environment, in the folder."""

    def __init__(self, binaries: Path) -> None:
        self.binaries = binaries

    def __call__(self, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [self.binaries / command, *arguments], capture_output=True, text=True, check=False
        )
        print(f"\n$ {command} {' '.join(arguments)}\n{done.stdout}{done.stderr}")
        return done


def test_the_environment_has_no_torch(run: Run) -> None:
    assert run("python", "-c", "import torch").returncode != 0


def test_three_lines(run: Run) -> None:
    Path("script.py").write_text(THREE_LINES)
    label, version, file = run("python", "script.py").stdout.split()
    assert label == "cat"
    assert version in run("pip", "show", "spikeserve").stdout
    assert str(run.binaries.parent) in file


def test_classify(run: Run) -> None:
    done = run("spikeserve", "classify", "cat.jpg")
    assert done.returncode == 0
    assert "cat.jpg" in done.stdout


def test_the_service_gets_ready(run: Run, tmp_path: Path) -> None:
    port = free_port()
    command = [str(run.binaries / "python"), "-m", "spikeserve.service", "--port", str(port)]
    with running(command, port, "/readyz", tmp_path / "log") as client:
        image = Path("cat.jpg").read_bytes()
        answer = client.post("/classify", content=image, timeout=30).json()
        assert answer["prediction"]["label"] == "cat"


@pytest.mark.parametrize("command", [("spiketrain",), ("python", "-m", "spikeserve.training")])
def test_training_says_what_it_needs(run: Run, command: tuple[str, ...]) -> None:
    done = run(*command, "--help")
    assert done.returncode == 1
    assert done.stderr == (
        "spiketrain: training needs torch, which serving does without: "
        "pip install 'spikeserve[train]'\n"
    )


def test_the_source_distribution_builds_the_same_wheel(
    context: Path, wheel: Path, tmp_path: Path
) -> None:
    sdist, _ = built("sdist", context, tmp_path / "sdist")
    subprocess.run([sys.executable, "-m", "tarfile", "-e", sdist, tmp_path], check=True)
    (unpacked,) = tmp_path.glob("spikeserve-*")
    again, _ = built("wheel", unpacked, tmp_path / "wheel")
    with ZipFile(wheel) as one, ZipFile(again) as other:
        assert {i.filename: i.CRC for i in one.infolist() if "RECORD" not in i.filename} == {
            i.filename: i.CRC for i in other.infolist() if "RECORD" not in i.filename
        }
