"""Where an imported bundle comes from, and what was measured, as its manifest stores it."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from importlib.metadata import version

import numpy as np

from spikeserve.importing.data.arrays import sha256_of
from spikeserve.importing.dynamics.golden import Match
from spikeserve.importing.integers.measure import Accuracies
from spikeserve.importing.integers.widen import Measured
from spikeserve.importing.network import FloatNetwork, Synapse
from spikeserve.importing.request import Request
from spikeserve.models.manifest import Golden, ImportedProvenance

SOFTWARE = ("numpy", "onnx")


def provenance(
    request: Request,
    found: Measured,
    golden: Match | None,
    ratios: tuple[float, ...],
    accuracy: Accuracies | None,
    calibration_images: int,
    data_sha256: str,
    warnings: tuple[str, ...],
) -> ImportedProvenance:
    """The ``provenance`` section of this import's bundle."""
    source, reading = request.source, request.reading
    agreement, noise = found.agreement, found.noise
    tied = [bool(row.all()) for row in found.truth.tied]
    return ImportedProvenance(
        source=request.described_source,
        source_sha256=_digest(found.network) if source is None else sha256_of(source),
        framework=request.framework,
        writer=request.writer,
        meaning={"neurons": request.read_as} if reading is None else asdict(reading.meaning),
        options=request.options,
        golden=_golden(request, golden),
        dataset=request.data.name,
        dataset_sha256={request.data.name: data_sha256},
        images=len(found.inputs),
        calibration_images=calibration_images,
        agreement_by_timestep=agreement.by_timestep,
        agreement_without_ties=tuple(
            None if none else share
            for none, share in zip(tied, agreement.by_timestep_without_ties, strict=True)
        ),
        noise_floor=None if noise is None else noise.last,
        spikes_ratio=tuple(round(ratio, 5) for ratio in ratios),
        float_accuracy=None if accuracy is None else accuracy.original,
        accuracy=None if accuracy is None else accuracy.served,
        accuracy_difference=None if accuracy is None else accuracy.difference,
        weight_bits=tuple(
            layer.weight_bits or request.bits for layer in found.rounded.program.network.synaptic
        ),
        software={name: version(name) for name in SOFTWARE},
        warnings=warnings,
    )


def _golden(request: Request, golden: Match | None) -> Golden | None:
    if golden is None or request.golden is None:
        return None
    return Golden(
        sha256=sha256_of(request.golden), inputs=golden.inputs, identical=golden.identical
    )


def _digest(network: FloatNetwork) -> str:
    """Of the weights, where there is no file."""
    digest = hashlib.sha256()
    for layer in network.layers:
        if isinstance(layer, Synapse):
            digest.update(np.ascontiguousarray(layer.weight).tobytes())
            digest.update(np.ascontiguousarray(layer.bias).tobytes())
    return digest.hexdigest()
