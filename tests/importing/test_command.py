"""``spikeserve import`` from its flags to a bundle that is served, on small networks of our own."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from spikeserve.importing.command import add_arguments, run
from spikeserve.importing.dynamics.golden import Reading
from spikeserve.importing.dynamics.interpreter import interpreted
from spikeserve.importing.dynamics.meaning import read_all
from spikeserve.importing.dynamics.readout import readout_of
from spikeserve.importing.network import FloatNetwork
from spikeserve.importing.result import sheet
from spikeserve.importing.result.early import cautious
from spikeserve.models.bundle import load_bundle
from spikeserve.models.engines.selection import build_engine
from spikeserve.models.exits import Readout
from spikeserve.models.inference import Trace, trace
from spikeserve.models.manifest import ImportedProvenance
from tests.importing.networks import CLASSES, SHAPE, images, network

STEPS, COUNT = 8, 240

Import = Callable[..., int]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images, a network's own classes as labels, and what it puts out."""
    inputs, reading = images(COUNT), Reading("snntorch", {})
    full = read_all(network(), reading.meaning)
    outputs = interpreted(full, inputs, STEPS).outputs
    labels = readout_of(full).accumulated(outputs)[-1].argmax(axis=1)
    np.save(tmp_path / "images.npy", inputs.values)
    np.save(tmp_path / "labels.npy", labels)
    np.save(tmp_path / "golden.npy", outputs[:, :40])
    (tmp_path / "net.nir").write_bytes(b"a network")
    return tmp_path


@pytest.fixture
def importing(folder: Path) -> Import:
    def call(*flags: str, net: FloatNetwork | None = None) -> int:
        parser = argparse.ArgumentParser()
        add_arguments(parser)
        given = {
            "--from": "snntorch",
            "--timesteps": str(STEPS),
            "--data": str(folder / "images.npy"),
            "--out": str(folder / "bundle"),
        }
        given |= dict(zip(flags[::2], flags[1::2], strict=False))
        told = [part for pair in given.items() for part in pair]
        last = flags[-1:] if len(flags) % 2 else ()
        options = parser.parse_args([str(folder / "net.nir"), *told, *last])
        return run(options, lambda _: net or network())

    return call


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {
        "images.npy", "labels.npy", "golden.npy", "net.nir",
    }  # fmt: skip


def test_a_network_is_imported_measured_and_served(
    folder: Path, importing: Import, capsys: pytest.CaptureFixture[str]
) -> None:
    labels, golden = str(folder / "labels.npy"), str(folder / "golden.npy")
    assert importing("--labels", labels, "--golden", golden) == 0
    shown = capsys.readouterr().out
    for line in ("reads as", "layers", "agreement", "accuracy", "spikes", "early exit", "energy"):
        assert f" {line} " in shown
    assert "golden: 40 of 40 identical" in shown
    assert left(folder) == {"bundle"}
    bundle = load_bundle(folder / "bundle")
    assert shown.split("written;")[0].strip() in (folder / "bundle" / "CARD.md").read_text()
    provenance = bundle.manifest.provenance
    assert isinstance(provenance, ImportedProvenance)
    assert provenance.framework == "snntorch"
    assert provenance.meaning["reset"] == "late-subtract"
    assert provenance.golden is not None
    assert provenance.golden.identical == 40
    assert (provenance.images, provenance.calibration_images) == (COUNT, COUNT // 2)
    assert bundle.manifest.evaluation is not None
    assert bundle.manifest.evaluation.images == COUNT // 2
    assert bundle.manifest.exits.is_calibrated
    assert bundle.self_test is not None
    engine = build_engine(bundle, "onnx")  # asks the self-test
    recordings = np.repeat(np.load(folder / "images.npy")[:, None], STEPS, axis=1)
    run = trace(engine, bundle.manifest.encoding, recordings)
    agreement = float((run.predictions[-1] == np.load(labels)).mean())
    assert agreement == pytest.approx(provenance.agreement_by_timestep[-1])
    assert agreement >= 0.95


def test_without_labels_nothing_is_calibrated(folder: Path, importing: Import) -> None:
    assert importing() == 0
    manifest = load_bundle(folder / "bundle").manifest
    assert not manifest.exits.is_calibrated
    assert manifest.evaluation is None


def test_a_potential_is_read_leaking(folder: Path, importing: Import) -> None:
    assert importing("--from", "spikingjelly", net=network(last="LI")) == 0
    exits = load_bundle(folder / "bundle").manifest.exits
    assert exits.accumulation == "leaky"
    assert exits.readout_leak == pytest.approx(0.8)


def test_recordings_are_imported(folder: Path, importing: Import) -> None:
    frames = np.random.default_rng(3).poisson(0.4, (60, STEPS, *SHAPE)).astype(np.uint8)
    np.savez(folder / "frames.npz", frames=frames.transpose(0, 1, 4, 2, 3))
    flags = ("--data", str(folder / "frames.npz"), "--from", "sinabs", "--dt", "1e-4")
    assert importing(*flags, net=network(kind="IF")) == 0
    bundle = load_bundle(folder / "bundle")
    assert bundle.manifest.encoding.kind == "frames"
    assert bundle.program.largest_count == 15
    build_engine(bundle, "reference")


def test_the_wrong_meaning_is_named_and_nothing_written(
    folder: Path, importing: Import, capsys: pytest.CaptureFixture[str]
) -> None:
    assert importing("--golden", str(folder / "golden.npy"), "--from", "spikingjelly") == 1
    message = capsys.readouterr().err
    assert (
        "your outputs are reproduced exactly by: --from snntorch (asked: --from spiking" in message
    )
    assert not left(folder)


def test_layers_that_never_fire_are_refused(
    folder: Path, importing: Import, capsys: pytest.CaptureFixture[str]
) -> None:
    assert importing("--from", "plain", "--dt", "1e-9", net=network(kind="IF")) == 1
    assert "dead: n and o never fire on 240 inputs" in capsys.readouterr().err
    assert not left(folder)


def test_a_bundle_is_replaced_only_by_force(
    importing: Import, capsys: pytest.CaptureFixture[str]
) -> None:
    assert importing() == 0
    assert importing() == 1
    assert "is not empty; --force" in capsys.readouterr().err
    assert importing("--force") == 0


def test_what_agrees_too_little_is_refused_unless_accepted(
    folder: Path,
    importing: Import,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sheet, "bar_of", lambda _: 1.01)
    assert importing() == 1
    assert "agrees with the float network on" in capsys.readouterr().err
    assert not left(folder)
    assert importing("--accept") == 0
    provenance = load_bundle(folder / "bundle").manifest.provenance
    assert isinstance(provenance, ImportedProvenance)
    assert len(provenance.warnings) == 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--data", "nothing.npy"), "nothing.npy does not exist"),
        (("--labels", "nothing.npy"), "nothing.npy does not exist"),
        (("--golden", "nothing.npz"), "nothing.npz does not exist"),
        (("--class-names", "nothing.txt"), "nothing.txt cannot be read"),
        (("--mean", "1,2,3"), "--mean 1,2,3: one number, or 2"),
        (("--mean", "125"), "within 0…1"),
        (("--std", "0"), "--std must be positive"),
        (("--from", "spyx"), "with dt 1 and tau 0.0005"),
        (("--from", "spikingjelly", "--max-spikes", "9"), "spike once"),
        (("--input-max", "9"), "--input-max is for frames"),
        (("--out", "/nowhere/b"), "there is no folder /nowhere"),
    ],
)
def test_what_cannot_be_is_said(
    folder: Path,
    importing: Import,
    capsys: pytest.CaptureFixture[str],
    flags: tuple[str, ...],
    message: str,
) -> None:
    assert importing(*flags) == 1
    assert message in capsys.readouterr().err
    assert not left(folder)


def test_images_of_two_channels_are_served_as_recordings(folder: Path, importing: Import) -> None:
    assert importing() == 0
    manifest = load_bundle(folder / "bundle").manifest
    assert manifest.encoding.kind == "frames"
    assert manifest.encoding.largest_count == 255
    assert manifest.labels == tuple(str(k) for k in range(CLASSES))


def test_few_inputs_choose_no_threshold_that_may_lose() -> None:
    """One of forty lost is within no tolerance."""
    labels = np.zeros(40, np.uint16)
    sums = np.zeros((2, 40, 2), np.int64)
    sums[:, :, 0] = 9
    sums[0, 0] = (0, 9)  # wrong at first, and as sure as the others
    trace = Trace(sums, np.zeros((2, 40, 1), np.int64), np.zeros((2, 40, 1), np.int64))
    readout = Readout(1.0, (1.0, 1.0))
    assert cautious(trace, readout, labels, 0.9) < 0.01
    sums[0, 0] = (9, 0)
    assert cautious(trace, readout, labels, 0.9) == 0.9
