"""Surroundings other than a developer's: read-only disks, nobody's uid, quotas, foreign volumes.

Containers are simulated with what they are made of: namespaces, uids, control groups.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.processes import free_port, running, wait_until

ROOT = Path(__file__).parents[2]
CLI = (sys.executable, "-m", "spikeserve.service.cli")
FRESH = ("env", "-i", "PATH=/usr/bin:/bin", f"PYTHONPATH={ROOT}", "PYTHONDONTWRITEBYTECODE=1")
NAMESPACES = ("unshare", "--user", "--map-root-user", "--mount", "--ipc")
READ_ONLY = "mount -o remount,bind,ro / && mount -t tmpfs -o ro none /dev/shm && cd / && "
NOBODY = 10001
FORM = 3 << 20
CORES = Path("/sys/fs/cgroup/cpu")


def read_only(*command: str) -> list[str]:
    """``command`` where nothing can be written, with neither a home nor a name."""
    script = f'{READ_ONLY} exec "$@"'
    return [*FRESH, *NAMESPACES, "sh", "-c", script, "sh", *command]


def nobody(*command: str) -> list[str]:
    """``command`` as a user that no file knows; it may read what is root's, as in an image."""
    reads = ("--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search")
    user = ("--reuid", str(NOBODY), "--regid", "0", "--clear-groups")
    return [*FRESH, "setpriv", *user, *reads, *command]


def needs(command: Sequence[str], what: str) -> None:
    """Skip unless ``command`` can be run here."""
    if shutil.which(command[len(FRESH)]) is None:
        pytest.skip(f"{what}: no {command[len(FRESH)]}")
    tried = subprocess.run(command, capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"{what}: {tried.stderr.strip()}")


def serve(port: int, bundle: Path, *flags: str) -> list[str]:
    where = ("--host", "127.0.0.1", "--port", str(port))
    return [*CLI, "serve", *where, "--bundle", str(bundle), *flags]


def left(group: Path) -> bool:
    """Remove a control group that is empty."""
    try:
        group.rmdir()
    except OSError:
        return False
    return True


def photograph() -> bytes:
    """A PNG that is larger than what a form keeps in memory by default."""
    pixels = np.random.default_rng(0).integers(0, 256, (1000, 1100, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=0)
    assert buffer.tell() > FORM
    return buffer.getvalue()


@pytest.mark.parametrize(
    "engine",
    ["onnx", pytest.param("event", marks=pytest.mark.verify)],  # compiles anew
)
def test_where_nothing_can_be_written_large_forms_are_answered(
    engine: str, bundle_folder: Path, tmp_path: Path
) -> None:
    needs(read_only("true"), "read-only namespaces")
    port, file = free_port(), ("photo.png", photograph(), "image/png")
    command = read_only(*serve(port, bundle_folder, "--engine", engine))
    with running(command, port, "/readyz", tmp_path / "log") as client:
        one = client.post("/classify", files={"file": file})
        many = client.post("/classify/batch", files=[("file", file), ("file", file)])
        raw = client.post("/classify", content=file[1])
    assert (one.status_code, many.status_code) == (200, 200)
    assert one.json()["prediction"] == raw.json()["prediction"]


@pytest.mark.verify
def test_several_processes_need_shared_memory_alone(bundle_folder: Path, tmp_path: Path) -> None:
    needs(read_only("true"), "read-only namespaces")
    script = 'mount -o remount,bind,ro / && cd / && exec "$@"'
    port, log = free_port(), tmp_path / "log"
    command = serve(port, bundle_folder, "--workers", "2", "--engine", "event")
    with running([*FRESH, *NAMESPACES, "sh", "-c", script, "sh", *command], port, "/readyz", log):
        wait_until(lambda: log.read_text().count("startup complete") == 2, "both are ready")
    assert log.read_text().count("compiling kernels") == 1


def test_where_nothing_can_be_written_files_are_classified(
    bundle_folder: Path, tmp_path: Path, png: bytes
) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(png)
    needs(read_only("true"), "read-only namespaces")
    engine = ("--engine", "onnx")
    command = read_only(*CLI, "classify", "--bundle", str(bundle_folder), *engine, str(photo))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "photo.png" in done.stdout


@pytest.fixture
def volume() -> Iterator[Path]:
    """Mounted as Kubernetes mounts them: root's, for everybody to write to. Not below pytest's
    folder, which nobody else may enter."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        mounted = Path(name) / "volume"
        mounted.mkdir()
        mounted.chmod(0o777)
        yield mounted


@pytest.mark.verify
def test_nobody_in_particular_keeps_kernels_in_a_volume_of_roots(
    volume: Path, bundle_folder: Path, tmp_path: Path
) -> None:
    needs(nobody("true"), "another user")
    prefix = nobody("env", f"NUMBA_CACHE_DIR={volume}")
    for log in (tmp_path / "first", tmp_path / "second"):
        port = free_port()
        with running([*prefix, *serve(port, bundle_folder)], port, "/readyz", log):
            pass
    assert f"kept in {volume}/user-{NOBODY}" in (tmp_path / "first").read_text()
    assert "compil" not in (tmp_path / "second").read_text()


@pytest.mark.verify
def test_several_processes_at_a_quarter_of_a_core_compile_once(
    volume: Path, bundle_folder: Path
) -> None:
    group = CORES / f"spikeserve-{os.getpid()}"
    try:
        group.mkdir()
        (group / "cpu.cfs_quota_us").write_text("25000")
    except OSError as error:
        pytest.skip(f"no control group of version 1 can be made here: {error}")
    port = free_port()
    enter = f'echo $$ > {group}/cgroup.procs; exec "$@"'
    prefix = [*FRESH, f"NUMBA_CACHE_DIR={volume / 'kernels'}", "sh", "-c", enter, "sh"]
    command = serve(port, bundle_folder, "--workers", "2", "--engine", "event")
    ready, said = "Application startup complete", []
    try:
        with subprocess.Popen([*prefix, *command], stderr=subprocess.PIPE, text=True) as service:
            assert service.stderr is not None
            for line in service.stderr:
                said.append(line)
                if sum(ready in one for one in said) == 2:
                    service.terminate()
    finally:
        wait_until(lambda: left(group), "the last process has left the group")
    assert sum("compiling kernels" in line for line in said) == 1
