"""Libraries do nothing on their own: no identifier in a fresh home, and no host looked up."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

LOOKUPS = r"""
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>

static void note(const char *name) {
    FILE *file = fopen(getenv("LOOKUPS"), "a");
    if (file) { fprintf(file, "%s\n", name ? name : "-"); fclose(file); }
}
int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **found) {
    note(name);
    return EAI_FAIL;
}
struct hostent *gethostbyname(const char *name) { note(name); return NULL; }
"""
EVENT_ALONE = """
import sys
from spikeserve.service.cli import main
status = main(sys.argv[1:])
assert "spikeserve.models.engines.event" in sys.modules
assert "onnxruntime" not in sys.modules
sys.exit(status)
"""
OWN_LOOKUP = "import socket; socket.getaddrinfo('somewhere.invalid', 80)"


class Home:
    """A fresh home, and a C library that writes down which hosts a process looks up."""

    def __init__(self, folder: Path) -> None:
        compiler = shutil.which("cc")
        if sys.platform != "linux" or compiler is None:
            pytest.skip("looking over the C library's shoulder takes Linux and a C compiler")
        self.folder, self._log = folder / "home", folder / "lookups"
        self.folder.mkdir()
        source, library = folder / "lookups.c", folder / "lookups.so"
        source.write_text(LOOKUPS)
        subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
        self._environment = {
            "HOME": str(self.folder),
            "LD_PRELOAD": str(library),
            "LOOKUPS": str(self._log),
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "NUMBA_CACHE_DIR": "",
        }

    def run(self, *arguments: str | Path) -> int:
        command = [sys.executable, *map(str, arguments)]
        return subprocess.run(
            command, env=self._environment, cwd=self.folder, check=False, timeout=120
        ).returncode

    @property
    def lookups(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    @property
    def files(self) -> list[str]:
        """Those in the home but our own compiled kernels, and a list of fonts."""
        files = (path.relative_to(self.folder) for path in self.folder.rglob("*") if path.is_file())
        known = (Path(".cache/spikeserve"), Path(".cache/matplotlib"))
        return [str(file) for file in files if not any(map(file.is_relative_to, known))]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_the_onnx_engine_leaves_no_identifier_and_looks_nobody_up(
    home: Home, bundle_folder: Path, png: bytes
) -> None:
    photo = home.folder.parent / "photo.png"
    photo.write_bytes(png)
    command = ("-m", "spikeserve.service.cli", "classify", "--bundle", bundle_folder)
    assert home.run(*command, "--engine", "onnx", photo) == 0
    assert (home.files, home.lookups) == ([], "")
    home.run("-c", OWN_LOOKUP)
    assert home.lookups == "somewhere.invalid\n"  # the proof would have seen one


def test_a_runtime_that_was_there_first_is_told_to_be_silent(home: Home) -> None:
    script = (
        "import os, spikeserve; assert os.environ['ORT_DISABLE_TELEMETRY'] == '1'\n"
        "import subprocess, sys\n"
        "sys.exit(subprocess.call([sys.executable, '-c', 'import onnxruntime']))"
    )
    assert home.run("-c", script) == 0
    assert (home.files, home.lookups) == ([], "")


def test_the_event_engine_does_without_onnx_runtime(
    bundle_folder: Path, tmp_path: Path, png: bytes
) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(png)
    command = [sys.executable, "-c", EVENT_ALONE, "classify", "--bundle", str(bundle_folder)]
    subprocess.run([*command, str(photo)], check=True)


@pytest.mark.verify
@pytest.mark.parametrize(
    "command",
    [
        ("-m", "spikeserve.service.cli", "models"),
        ("-m", "spikeserve.service.cli", "energy"),
        ("-m", "spikeserve.service.cli", "key"),
        ("-m", "spikeserve.training", "--help"),
        ("-c", "import spikeserve; spikeserve.load('early-exit-vgg8-cifar10')"),
        ("-c", "import spikeserve; spikeserve.load('early-exit-vgg8-cifar10', 'torch')"),
        ("-c", "import benchmarks.engines, benchmarks.layers"),
        ("-c", "import benchmarks, openvino, nncf; openvino.Core()"),
    ],
)
def test_nothing_else_does_either(home: Home, command: tuple[str, ...]) -> None:
    assert home.run(*command) == 0
    assert (home.files, home.lookups) == ([], "")
