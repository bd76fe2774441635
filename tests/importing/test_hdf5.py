"""Files that are no NIR, damaged or made to do harm: a sentence each, at once."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from spikeserve.importing.check import checked
from spikeserve.importing.cli import main
from spikeserve.importing.errors import ImportRefused
from spikeserve.importing.nir.hdf5 import parsed
from spikeserve.importing.nir.isolated import read
from tests.importing.graphs import affine, chain, conv, neurons, plain, written

GRAPH = chain((1, 8, 8), conv("c", 1, 4), neurons("n", (4, 6, 6)), plain("f"), affine("a", 144, 3))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return written(tmp_path / "network.nir", GRAPH)


def refused(path: Path, *words: str) -> None:
    """In one sentence that names the file, within a second or two."""
    began = time.perf_counter()
    with pytest.raises(ImportRefused) as error:
        parsed(path)
    assert time.perf_counter() - began < 5
    said = str(error.value)
    assert str(path) in said
    assert all(word in said for word in words), said


def test_a_good_file_is_read(file: Path) -> None:
    graph = parsed(file)
    assert {node.name for node in graph.nodes} == {node.name for node in GRAPH.nodes}
    assert set(graph.edges) == set(GRAPH.edges)
    assert graph.writer == "nir 1.0.8"
    assert checked(file).network is not None


def test_a_process_of_its_own_reads_the_same(file: Path) -> None:
    alone, here = read(file), parsed(file)
    assert alone.edges == here.edges
    for one, other in zip(alone.nodes, here.nodes, strict=True):
        assert (one.name, one.kind) == (other.name, other.kind)
        assert one.parameters.keys() == other.parameters.keys()
        for name, value in one.parameters.items():
            assert np.array_equal(value, other.parameters[name])
            assert np.shape(value) == np.shape(other.parameters[name])


def test_what_hangs_or_crashes_the_library_is_refused(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spikeserve.importing.nir.isolated.SECONDS", 0.001)
    with pytest.raises(ImportRefused, match="seconds"):
        read(file)
    monkeypatch.undo()
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(ImportRefused, match="damaged"):
        read(file)


@pytest.mark.parametrize("name", ["a\0b.nir", "-h", "nowhere/\udcff.nir"])
def test_odd_names_are_refused(name: str) -> None:
    with pytest.raises(ImportRefused):
        read(Path(name))


def test_files_that_end_early_are_refused(file: Path, tmp_path: Path) -> None:
    data = file.read_bytes()
    short = tmp_path / "short.nir"
    for end in range(0, len(data), 1024):
        short.write_bytes(data[:end])
        refused(short)


@pytest.mark.parametrize(
    "data", [b"", b"\x89HDF\r\n\x1a\n", b"PK\x03\x04", b"\x89PNG\r\n\x1a\n" * 9, b"{}", bytes(4096)]
)
def test_other_files_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "other.nir"
    path.write_bytes(data)
    refused(path)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, "no file")
    refused(tmp_path / "nowhere.nir", "does not exist")
    loop = tmp_path / "loop.nir"
    loop.symlink_to(loop)
    with pytest.raises(ImportRefused):
        parsed(loop)


def changed(file: Path, change: Callable[[h5py.File], object]) -> Path:
    with h5py.File(file, "a") as content:
        change(content)
    return file


def without(place: str) -> Callable[[h5py.File], object]:
    def change(content: h5py.File) -> None:
        del content[place]

    return change


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("node", "no NIR file"),
        ("node/nodes", "incomplete"),
        ("node/edges", "incomplete"),
        ("node/nodes/c/type", "no type"),
    ],
)
def test_half_written_files_are_refused(file: Path, place: str, words: str) -> None:
    refused(changed(file, without(place)), words)


def put(place: str, value: object, **options: object) -> Callable[[h5py.File], object]:
    def change(content: h5py.File) -> None:
        if place in content:
            del content[place]
        content.create_dataset(place, **({"data": value} | options))

    return change


def claimed(place: str, shape: tuple[int, ...], **options: object) -> Callable[[h5py.File], object]:
    """A dataset that takes no room in the file, and any amount in memory."""

    def change(content: h5py.File) -> None:
        del content[place]
        content.create_dataset(place, shape, "f8", chunks=(1 << 16,), compression="gzip", **options)

    return change


def test_what_claims_gigabytes_is_not_read(file: Path) -> None:
    refused(changed(file, claimed("node/nodes/c/weight", (10**10,))), "claims more than")


def test_many_small_claims_add_up(file: Path) -> None:
    def change(content: h5py.File) -> None:
        for k in range(50):
            content.create_dataset(
                f"node/nodes/c/p{k}", (1 << 22,), "f8", chunks=(1 << 16,), compression="gzip"
            )

    refused(changed(file, change), "claims more than")


def test_a_million_nodes_are_too_many(tmp_path: Path) -> None:
    path = tmp_path / "many.nir"
    with h5py.File(path, "w", libver="latest") as content:
        nodes = content.create_group("node/nodes")
        for k in range(5000):
            nodes.create_group(str(k))
        content["node/edges"] = np.array([["a", "b"]], dtype=h5py.string_dtype())
    refused(path, "5,000 nodes")


def linked(content: h5py.File) -> None:
    content["node/nodes/z"] = h5py.ExternalLink("/etc/passwd", "/")


def soft(content: h5py.File) -> None:
    content["node/nodes/z"] = h5py.SoftLink("/node")


def circle(content: h5py.File) -> None:
    content["node/nodes/z"] = content["node"]


def outside(content: h5py.File) -> None:
    del content["node/nodes/c/bias"]
    content.create_dataset("node/nodes/c/bias", (4,), "u1", external=[("/etc/hostname", 0, 4)])


def virtual(content: h5py.File) -> None:
    layout = h5py.VirtualLayout(shape=(4,), dtype="f8")
    layout[:] = h5py.VirtualSource("/etc/hostname", "x", shape=(4,))
    del content["node/nodes/c/bias"]
    content.create_virtual_dataset("node/nodes/c/bias", layout)


@pytest.mark.parametrize("change", [linked, soft, outside, virtual])
def test_links_elsewhere_are_not_followed(
    file: Path, change: Callable[[h5py.File], object]
) -> None:
    refused(changed(file, change))


def test_a_graph_inside_itself_is_refused(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(changed(file, circle))]) == 1
    assert "nested" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("node/nodes/c/weight", "text instead of numbers"),
        ("node/nodes/c/type", 7),
        ("node/nodes/c/type", "x" * 10_000),
        ("node/edges", [1, 2]),
        ("node/edges", np.array([["a" * 1000, "b"]], dtype=h5py.string_dtype())),
        ("node/nodes/c/stride", np.array([(1, 2)], dtype=[("a", "i4"), ("b", "i4")])),
        ("node/nodes/c/stride", np.array([b"\xff\xfe"])),
        ("node/nodes/c/weight", np.zeros((4, 1, 3, 3), np.complex128)),
        ("node/nodes/c/weight", np.full((4, 1, 3, 3), np.nan)),
        ("node/nodes/c/weight", np.full((4, 1, 3, 3), np.inf)),
        ("node/nodes/c/weight", np.zeros((4, 1, 3, 3))),
        ("node/nodes/c/weight", np.ones((1, 4, 3, 3))),
        ("node/nodes/c/weight", np.ones((4, 1, 9, 9))),
        ("node/nodes/c/weight", np.ones((4, 1, 0, 0))),
        ("node/nodes/c/weight", 1.0),
        ("node/nodes/c/bias", np.ones(7)),
        ("node/nodes/c/stride", 0),
        ("node/nodes/c/stride", -1),
        ("node/nodes/c/stride", [1, 2, 3]),
        ("node/nodes/c/stride", 1e30),
        ("node/nodes/c/dilation", 10**9),
        ("node/nodes/c/padding", 10**9),
        ("node/nodes/c/padding", "sideways"),
        ("node/nodes/c/groups", 0),
        ("node/nodes/c/groups", 3),
        ("node/nodes/n/v_threshold", 0.0),
        ("node/nodes/n/v_threshold", np.ones((4, 7, 7))),
        ("node/nodes/n/r", np.nan),
        ("node/nodes/a/weight", np.ones((144, 3))),
        ("node/nodes/a/weight", np.ones((3, 143))),
        ("node/nodes/input/shape", [10**9, 10**9, 10**9]),
        ("node/nodes/c/type", "Spaghetti"),
    ],
)
def test_senseless_parameters_are_refused_in_words(
    file: Path, capsys: pytest.CaptureFixture[str], place: str, value: object
) -> None:
    changed(file, put(place, value))
    assert main(["check", str(file)]) == 1
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    assert said.out or said.err


@pytest.mark.parametrize("tau", [0.0, -1.0, np.nan])
def test_time_constants_are_positive(tmp_path: Path, tau: float) -> None:
    graph = chain(
        (1, 8, 8), conv("c", 1, 4), neurons("n", (4, 6, 6), "LIF", tau=np.full((4, 6, 6), tau)),
        plain("f"), affine("a", 144, 3),
    )  # fmt: skip
    (refusal, *_) = checked(written(tmp_path / "x.nir", graph)).refusals
    assert refusal.node == "n"
    assert "tau" in refusal.text


def test_json_tells_the_same(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(file), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["servable"]
    assert {finding["node"] for finding in document["findings"]} == {
        node.name for node in GRAPH.nodes
    }
    assert {finding["verdict"] for finding in document["findings"]} == {"exact"}


FUZZ = """
import random, signal, sys
from pathlib import Path
from spikeserve.importing.errors import ImportRefused
from spikeserve.importing.nir.hdf5 import parsed
from spikeserve.importing.lowering.walk import lowered
good, path = Path(sys.argv[1]).read_bytes(), Path(sys.argv[2])
draw = random.Random(int(sys.argv[3]))
for _ in range(int(sys.argv[4])):
    data = bytearray(good)
    for _ in range(draw.choice([1, 1, 2, 8, 64])):
        data[draw.randrange(len(data))] = draw.randrange(256)
    path.write_bytes(data)
    try:
        signal.alarm(20)  # the library may turn in circles: another process ends it then
        lowered(parsed(path))
    except ImportRefused:
        pass
"""


def fuzzed(file: Path, seed: int, times: int) -> None:
    def bounded() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))

    command = [sys.executable, "-c", FUZZ, str(file), str(file.with_name("mutant.nir")), str(seed)]
    result = subprocess.run(
        [*command, str(times)], capture_output=True, text=True, check=False, timeout=500,
        preexec_fn=bounded,
    )  # fmt: skip
    ended_by_the_library = (-signal.SIGALRM, -signal.SIGSEGV, -signal.SIGABRT)
    assert result.returncode in (0, *ended_by_the_library), result.stderr[-2000:]


def test_wrong_bytes_are_refused_or_read(file: Path) -> None:
    fuzzed(file, 0, 100)


@pytest.mark.verify
@pytest.mark.parametrize("seed", range(1, 5))
def test_many_wrong_bytes_are_refused_or_read(file: Path, seed: int) -> None:
    fuzzed(file, seed, 1000)
