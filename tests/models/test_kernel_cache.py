"""Compiled kernels on disk: private, checked before they run, and never needed."""

from __future__ import annotations

import fcntl
import mmap
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from spikeserve.models.engines.kernels import SHARED_VARIABLE, compiled
from spikeserve.models.errors import EngineUnavailable
from tests.processes import wait_until

HOLD = "import fcntl, os, sys; fcntl.flock(os.open(sys.argv[1], 0), 2); print(); sys.stdin.read()"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(compiled.CACHE_VARIABLE, str(tmp_path / "kernels"))
    folder = compiled.cache_folder()
    assert folder is not None
    assert folder.parent == tmp_path / "kernels"
    return folder


def little(rows: Any, tables: Any, scratch: Any) -> None:  # noqa: ARG001
    """Stands for the kernel, which takes seconds to compile."""
    rows.counter[0] = len(rows.frames)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "step_rows", little)


def test_kernels_are_cached_where_only_we_can_write(cache: Path, tmp_path: Path) -> None:
    assert cache.stat().st_mode & 0o777 == 0o700
    cache.chmod(0o755)
    assert compiled.cache_folder() is None
    cache.chmod(0o700)
    cache.parent.chmod(0o777)  # somebody could swap the folder
    assert compiled.cache_folder() is None
    cache.parent.chmod(0o700)
    cache.rename(tmp_path / "elsewhere")
    cache.symlink_to(tmp_path / "elsewhere")
    assert compiled.cache_folder() is None


@pytest.mark.usefixtures("quick")
def test_without_a_cache_folder_kernels_are_compiled_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(compiled.CACHE_VARIABLE, str(tmp_path / "file" / "below"))
    assert compiled.cache_folder() is None
    assert callable(compiled._step_kernel.__wrapped__())
    monkeypatch.delenv(compiled.CACHE_VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "no home" / ".cache"))
    assert compiled.cache_folder() is None
    assert not (tmp_path / "no home").exists()


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("suffix", ["nbi", "nbc", "sha256"])
@pytest.mark.parametrize("damage", ["empty", "flipped", "gone"])
def test_a_damaged_cache_is_compiled_anew(
    cache: Path, suffix: str, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    compiled._step_kernel.__wrapped__()
    (file,) = [path for path in cache.rglob("*") if path.name.endswith(suffix)]
    content = bytearray(file.read_bytes())
    middle = len(content) // 4
    content[middle : middle + 64] = bytes(255 - byte for byte in content[middle : middle + 64])
    file.unlink()
    if damage != "gone":
        file.write_bytes(content if damage == "flipped" else b"")
    capsys.readouterr()
    compiled._step_kernel.__wrapped__()
    assert "kept in" in capsys.readouterr().err
    compiled._step_kernel.__wrapped__()
    assert capsys.readouterr().err == ""


def test_a_second_process_finds_the_kernels_compiled(tmp_path: Path) -> None:
    script = "from spikeserve.models.engines.kernels.compiled import step_kernel; step_kernel()"
    environment = {compiled.CACHE_VARIABLE: str(tmp_path), "PATH": ""}
    first, second = (
        subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, check=True
        ).stderr.decode()
        for _ in range(2)
    )
    assert "compiling kernels" in first
    assert "kept in" in first
    assert second == ""


def test_where_memory_must_not_become_code_the_engine_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(*_arguments: object, **_options: object) -> None:
        raise PermissionError("operation not permitted")

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(mmap, "mmap", refused)
    with pytest.raises(EngineUnavailable, match="forbids"):
        compiled._step_kernel.__wrapped__()


@pytest.mark.usefixtures("quick")
def test_of_processes_that_start_together_one_compiles(
    cache: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    first = os.open(cache, os.O_RDONLY)
    fcntl.flock(first, fcntl.LOCK_EX)
    said = ""

    def waits() -> bool:
        nonlocal said
        said += capfd.readouterr().err
        return "waiting" in said

    with ThreadPoolExecutor() as pool:
        second = pool.submit(compiled._step_kernel.__wrapped__)
        wait_until(waits, "the second process waits")
        compiled._compiled(cache)
        os.close(first)
        assert callable(second.result())
    assert (said + capfd.readouterr().err).count("compiling kernels") == 1


@pytest.mark.usefixtures("quick")
def test_who_dies_while_compiling_holds_nobody_up(
    cache: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (cache / "half").write_text("written")
    command = [sys.executable, "-c", HOLD, str(cache)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with ThreadPoolExecutor() as pool:
            kernel = pool.submit(compiled._step_kernel.__wrapped__)
            other.kill()
            assert callable(kernel.result())
    assert "kept in" in capfd.readouterr().err
    assert not (cache / "half").exists()


@pytest.mark.usefixtures("quick")
def test_processes_without_a_cache_share_what_their_supervisor_lends_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(compiled.CACHE_VARIABLE, str(tmp_path / "file"))
    lent = tmp_path / "lent"
    lent.mkdir(mode=0o700)
    monkeypatch.setenv(SHARED_VARIABLE, str(lent))
    for _ in range(2):
        compiled._step_kernel.__wrapped__()
    assert capsys.readouterr().err.count("compiling kernels") == 1
    assert compiled.cache_folder() == lent / "kernels" / compiled._key()


@pytest.mark.skipif(os.getuid() != 0, reason="gives a folder to somebody else: root's business")
@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o2775])
def test_where_a_volume_is_mounted_kernels_lie_in_a_folder_of_our_own(
    mode: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount = tmp_path / "volume"
    mount.mkdir()
    os.chown(mount, 12345, os.getgid())
    mount.chmod(mode)
    monkeypatch.setenv(compiled.CACHE_VARIABLE, str(mount))
    folder = compiled.cache_folder()
    assert folder is not None
    assert folder.parent == mount / f"user-{os.getuid()}"
    assert folder.parent.stat().st_mode & 0o777 == 0o700
    assert compiled.cache_folder() == folder
