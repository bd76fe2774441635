"""Other frameworks' networks, imported and served, held against what those frameworks answered.

``SPIKESERVE_NETWORKS`` names the folder: ``NAME.nir`` with ``NAME.npz`` (``images`` or ``frames``,
``labels`` and the framework's ``outputs [T, N, K]``), and ``expected.json`` with what each import
is told and has to reach.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from spikeserve.importing.cli import main
from spikeserve.importing.dynamics.meaning import DIALECTS
from spikeserve.models.bundle import load_bundle
from spikeserve.models.engines.selection import build_engine
from spikeserve.models.inference import Trace, trace

FOLDER = Path(os.environ.get("SPIKESERVE_NETWORKS", "nowhere"))
EXPECTED: dict[str, Any] = (
    json.loads((FOLDER / "expected.json").read_text()) if FOLDER.is_dir() else {}
)
FLAGS = {"floor": "--min-membrane", "spikes": "--max-spikes"}
WINDOWS, MICROSECONDS = 300, 1000

pytestmark = [
    pytest.mark.verify,
    pytest.mark.skipif(not EXPECTED, reason="SPIKESERVE_NETWORKS names no folder of networks"),
]


def flags(name: str, framework: str | None = None) -> list[str]:
    """What the import is told of one network, but for where the bundle goes."""
    told = EXPECTED[name]
    pairs = [
        (FLAGS.get(key, f"--{key}"), str(value))
        for key, value in told["options"].items()
        if framework is None or key in ("mean", "std")
    ]
    return [
        "import", str(FOLDER / f"{name}.nir"), "--from", framework or told["from"],
        "--timesteps", str(told["T"]), "--data", str(FOLDER / f"{name}.npz"),
        "--golden", str(FOLDER / f"{name}.npz"), *(part for pair in pairs for part in pair),
    ]  # fmt: skip


def served(bundle: Path, inputs: NDArray[np.uint8]) -> Trace:
    loaded = load_bundle(bundle)
    engine = build_engine(loaded)  # checked against the reference, and by the self-test
    manifest = loaded.manifest
    return trace(engine, manifest.encoding, inputs, leak=manifest.exits.readout_leak)


def inputs_of(recorded: Any) -> NDArray[np.uint8]:
    if "frames" in recorded:
        return np.ascontiguousarray(recorded["frames"].transpose(0, 1, 3, 4, 2))
    images = recorded["images"]
    return np.ascontiguousarray(images if images.ndim == 4 else images[..., None])


@pytest.mark.parametrize("name", EXPECTED)
def test_what_is_served_agrees_with_the_framework(tmp_path: Path, name: str) -> None:
    assert main([*flags(name), "--out", str(tmp_path / "bundle")]) == 0
    told, recorded = EXPECTED[name], np.load(FOLDER / f"{name}.npz")
    run = served(tmp_path / "bundle", inputs_of(recorded))
    outputs = recorded["outputs"].astype(np.float64)
    sums = outputs if "readout_leak" in told else outputs.cumsum(axis=0)
    best = np.sort(sums, axis=2)
    same, clear = run.predictions == sums.argmax(axis=2), best[..., -1] > best[..., -2] + 1e-9
    accuracy = float((run.predictions[-1] == recorded["labels"]).mean())
    ratios = run.spikes.sum(axis=(0, 1)) / recorded["spikes"].sum(axis=(0, 1))
    limits = told["limits"]
    assert same[-1].mean() >= limits["agree_last"]
    assert same.mean() >= limits["agree_all"]
    assert same[clear].mean() >= limits["agree_without_ties"]
    assert abs(accuracy - told["framework_accuracy_here"]) <= limits["accuracy_within"]
    assert np.abs(ratios - 1).max() <= limits["spikes_within"]


@pytest.mark.parametrize("framework", DIALECTS)
@pytest.mark.parametrize("name", EXPECTED)
def test_the_right_meaning_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, framework: str
) -> None:
    code = main([*flags(name, framework), "--out", str(tmp_path / "bundle")])
    said = capsys.readouterr()
    if code == 0:  # this framework means the same by this file
        assert "identical)" in said.out
        return
    told, dialect = EXPECTED[name], EXPECTED[name]["dialect"]
    named = said.err.partition("reproduced exactly by: ")[2]
    assert f"--from {told['from']}" in named
    if dialect["reset"] == "soft" and not dialect["delay"] and told["from"] != "sinabs":
        assert "--reset subtract" in named
    if dialect["floor"] is not None:
        assert f"--min-membrane {-dialect['floor']:g}" in named
    assert not (tmp_path / "bundle").exists()


def test_a_network_of_events_is_served_at_one_millisecond(tmp_path: Path) -> None:
    events = np.load(FOLDER / "events" / "nmnist-test100.npz")
    frames = np.zeros((len(events["label"]), WINDOWS, 34, 34, 2), np.uint8)
    for index, window in enumerate(zip(events["offset"], events["offset"][1:], strict=False)):
        t, y, x, p = (events[part][slice(*window)] for part in "tyxp")
        step = t // MICROSECONDS
        inside = step < WINDOWS
        np.add.at(frames[index], (step[inside], y[inside], x[inside], p[inside]), 1)
    np.save(tmp_path / "frames.npy", frames)
    np.save(tmp_path / "labels.npy", events["label"])
    network = str(FOLDER / "real" / "cnn_sinabs.nir")
    told = ["--from", "sinabs", "--min-membrane", "-1", "--timesteps", str(WINDOWS)]
    data = ["--data", str(tmp_path / "frames.npy"), "--labels", str(tmp_path / "labels.npy")]
    assert main(["import", network, *told, *data, "--out", str(tmp_path / "bundle")]) == 0
    run = served(tmp_path / "bundle", frames)
    assert (run.predictions[-1] == events["label"]).mean() >= 0.95
