"""The bundle of an imported network, written whole or not at all."""

from __future__ import annotations

import datetime
import re
import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from spikeserve.importing.errors import ImportRefused
from spikeserve.importing.integers.served import QuickOperations
from spikeserve.importing.integers.widen import Measured
from spikeserve.importing.request import Request
from spikeserve.importing.result.early import Calibrated
from spikeserve.models.bundle import CARD, MANIFEST, save_bundle
from spikeserve.models.encoding import Encoding
from spikeserve.models.engines.reference import ReferenceEngine
from spikeserve.models.manifest import Exits, ImportedProvenance, Manifest, SelfTest
from spikeserve.models.self_test import FILE as SELF_TEST
from spikeserve.models.self_test import SelfTestFile
from spikeserve.training.evaluate import measured as evaluation

UNNAMEABLE = re.compile(r"[^A-Za-z0-9._-]+")
SELF_TEST_INPUTS, SELF_TEST_TIMESTEPS = 16, 64
LEAST_BITS, MOST_BITS = 4, 8  # that a manifest can say of a whole network


def check_out(out: Path, *, force: bool) -> None:
    """That a bundle can be written to ``out``.

    Raises:
        ImportRefused: something else is there, or a library is missing.
    """
    if find_spec("onnx") is None:
        raise ImportRefused("bundles are written with onnx: pip install 'spikeserve[import]'")
    if not out.absolute().parent.is_dir():
        raise ImportRefused(f"--out {out}: there is no folder {out.absolute().parent}")
    if out.is_dir():
        filled = any(out.iterdir())
        if filled and not force:
            raise ImportRefused(f"--out {out} is not empty; --force replaces a bundle")
        if filled and not (out / MANIFEST).exists():
            raise ImportRefused(f"--out {out} is no bundle; it is not replaced")
    elif out.exists():
        raise ImportRefused(f"--out {out} is no folder")


def written(out: Path, manifest: Manifest, found: Measured, test: SelfTestFile, card: str) -> None:
    """Write the bundle to a folder beside ``out``, which gets its name when it is whole."""
    from spikeserve.training.export import step_graph  # serving and checking do without onnx

    program = found.rounded.program
    graph = step_graph(program).SerializeToString()
    parent = out.absolute().parent
    with tempfile.TemporaryDirectory(dir=parent, prefix=f".{out.name}.") as made:
        folder = Path(made) / "bundle"
        folder.mkdir()
        (folder / SELF_TEST).write_bytes(test.dump())
        (folder / CARD).write_text(card, encoding="utf-8")
        save_bundle(folder, manifest, program, graph)
        if out.is_dir():
            out.replace(Path(made) / "before")
        folder.replace(out)


def manifest_of(
    request: Request,
    found: Measured,
    exits: Calibrated | None,
    names: tuple[str, ...],
    provenance: ImportedProvenance,
    test: SelfTestFile,
) -> Manifest:
    """All that is said of the bundle but its files."""
    program, encoding = found.rounded.program, encoding_of(found)
    leak = found.rounded.readout.served_leak
    agreeing = test.agreeing(ReferenceEngine(program, QuickOperations()), encoding, leak)
    name = request.name or UNNAMEABLE.sub("-", request.out.absolute().name).lstrip("-._")
    manifest = Manifest(
        name=name[:100] or "imported",
        version="1",
        description=request.description
        or f"Imported from {request.described_source} ({request.framework}).",
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        labels=names,
        encoding=encoding,
        layers=program.network.layers,
        logit_scale=program.logit_scale,
        weight_bits=min(MOST_BITS, max(LEAST_BITS, request.bits)),
        exits=_uncalibrated(found) if exits is None else exits.exits,
        provenance=provenance,
        self_test=SelfTest(inputs=len(test.inputs), timesteps=len(test.outputs), agreeing=agreeing),
    )
    if exits is None:
        return manifest
    result = evaluation(manifest, exits.trace, exits.labels, request.data.name, "reference")
    return manifest.model_copy(update={"evaluation": result})


def encoding_of(found: Measured) -> Encoding:
    """How inputs enter the served network."""
    count = found.rounded.program.largest_count
    return Encoding("direct" if count is None else "frames", len(found.answer.outputs), count)


def self_test_of(found: Measured) -> SelfTestFile:
    """The first inputs, and what the float network puts out for them."""
    outputs = found.rounded.readout.accumulated(found.answer.outputs)
    inputs = found.inputs.values[:SELF_TEST_INPUTS]
    if found.inputs.constant and found.rounded.program.largest_count is not None:
        shape = (len(inputs), len(outputs), *inputs.shape[1:])
        inputs = np.broadcast_to(inputs[:, None], shape)
    return SelfTestFile(inputs, outputs[:SELF_TEST_TIMESTEPS, :SELF_TEST_INPUTS].astype(np.float32))


def _uncalibrated(found: Measured) -> Exits:
    """The exit rule of a bundle without labelled inputs: nothing is known of thresholds."""
    leak = found.rounded.readout.served_leak
    pairs = found.trace.active_pairs.mean(axis=1)
    return Exits(
        accumulation="mean" if leak is None else "leaky",
        readout_leak=leak,
        temperatures=(1.0,) * len(found.answer.outputs),
        default_entropy_threshold=None,
        accuracy_by_timestep=None,
        table=(),
        mean_active_pairs=tuple(tuple(round(float(v), 1) for v in row) for row in pairs),
    )
