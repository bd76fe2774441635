"""How many cores a process may use, inside control groups of either version."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from spikeserve.models.bundle import Bundle
from spikeserve.models.engines import cores
from spikeserve.models.engines.onnx import OnnxEngine

CORES = 64
REAL = Path("/sys/fs/cgroup/cpu")  # where version 1 is mounted
COUNT = (
    "import os, sys\n"
    "open(sys.argv[1] + '/cgroup.procs', 'w').write(str(os.getpid()))\n"
    "from spikeserve.models.engines.cores import usable_cores; print(usable_cores())"
)


@pytest.fixture(autouse=True)
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of all control groups, on a large machine."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(CORES)), raising=False)
    monkeypatch.setattr(cores, "GROUPS", tmp_path / "groups")
    monkeypatch.setattr(cores, "OWN_GROUPS", tmp_path / "own")
    return tmp_path / "groups"


def limit(group: Path, **files: str) -> None:
    group.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (group / name.replace("__", ".")).write_text(content + "\n")


def test_without_groups_every_core_is_usable() -> None:
    assert cores.usable_cores() == CORES


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        ("25000 100000", 1),
        ("250000 100000", 3),
        ("6400000 100000", CORES),
        ("99999999 100000", CORES),
        ("max 100000", CORES),
        ("", CORES),
        ("nonsense", CORES),
        ("100000 0", CORES),
    ],
)
def test_a_quota_of_version_2(groups: Path, quota: str, expected: int) -> None:
    limit(groups, cpu__max=quota)
    assert cores.usable_cores() == expected


@pytest.mark.parametrize("place", ["cpu", "cpu,cpuacct"])
@pytest.mark.parametrize(
    ("quota", "expected"), [("25000", 1), ("150000", 2), ("-1", CORES), ("0", CORES)]
)
def test_a_quota_of_version_1(
    groups: Path, tmp_path: Path, place: str, quota: str, expected: int
) -> None:
    (tmp_path / "own").write_text(f"4:{place}:/docker/abc\n3:cpuset:/\n0::/\n")
    limit(groups / place, cpu__cfs_quota_us=quota, cpu__cfs_period_us="100000")
    assert cores.usable_cores() == expected


@pytest.mark.parametrize(
    ("line", "own"),
    [
        ("0::/kubepods/pod/container", "kubepods/pod/container"),
        ("0::/a b:c/d", "a b:c/d"),
        ("0::/user.slice", "user.slice"),
    ],
)
def test_own_group_counts_and_all_around_it(
    groups: Path, tmp_path: Path, line: str, own: str
) -> None:
    (tmp_path / "own").write_text(line + "\n")
    limit(groups / own, cpu__max="300000 100000")
    assert cores.usable_cores() == 3
    limit((groups / own).parent, cpu__max="200000 100000")
    assert cores.usable_cores() == 2


def test_nested_groups_of_version_1_beside_an_empty_version_2(groups: Path, tmp_path: Path) -> None:
    (tmp_path / "own").write_text("2:cpuacct:/\n1:cpu:/outer/inner\n0::/\n")
    files = {"cpu__cfs_period_us": "100000"}
    limit(groups / "cpu/outer/inner", cpu__cfs_quota_us="-1", **files)
    limit(groups / "cpu/outer", cpu__cfs_quota_us="400000", **files)
    limit(groups / "unified")
    assert cores.usable_cores() == 4


def test_the_onnx_engine_takes_no_more_either(groups: Path, bundle: Bundle) -> None:
    limit(groups, cpu__max="100000 100000")
    engine = OnnxEngine(bundle.program, bundle.graph)
    assert engine._session.get_session_options().intra_op_num_threads == 1


@pytest.fixture
def real_group() -> Iterator[Path]:
    group = REAL / f"spikeserve-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / "cpu.cfs_quota_us").write_text("25000")
    except OSError as error:
        pytest.skip(f"no control group of version 1 can be made here: {error}")
    try:
        yield group
    finally:
        group.rmdir()


def test_a_real_group_of_version_1(real_group: Path) -> None:
    command = [sys.executable, "-c", COUNT, str(real_group)]
    assert subprocess.check_output(command, text=True) == "1\n"
