"""A bundle: the checkpoint on disk that the service loads.

A folder with ``manifest.json``, ``weights.safetensors``, ``step.onnx`` and ``CARD.md``.
The manifest describes everything and holds the sha256 of every other file; loading
verifies all of it and never unpickles. The format is on one page in ``docs/BUNDLE.md``.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from safetensors import SafetensorError
from safetensors.numpy import load as load_safetensors
from safetensors.numpy import save as save_safetensors

from models.encoding import Encoding, Pixels
from models.errors import BundleError, InvalidProgram, ModelError
from models.exits import ExitPolicy, Readout
from models.network import Layer, Network, connections
from models.program import Program, Synapses

SCHEMA_VERSION = 1
MANIFEST, WEIGHTS, GRAPH, CARD = "manifest.json", "weights.safetensors", "step.onnx", "CARD.md"
MAX_FILE_BYTES = 1 << 30

Probability = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ExitPoint(Section):
    """What one entropy threshold gives: one row of an exit table."""

    entropy_threshold: Probability
    accuracy: Probability
    average_timesteps: Annotated[float, Field(ge=1)]
    energy_pj: Annotated[float, Field(ge=0)] | None = None


class Exits(Section):
    """The calibrated exit rule; all of it measured on held-out training images."""

    accumulation: Literal["mean"] = "mean"
    temperatures: tuple[Annotated[float, Field(ge=1e-3, le=1e3)], ...]
    sharpness: Annotated[float, Field(ge=1, le=100)] = 1.0
    default_entropy_threshold: Probability
    accuracy_by_timestep: tuple[Probability, ...]
    table: Annotated[tuple[ExitPoint, ...], Field(min_length=1)]
    mean_active_pairs: tuple[tuple[Annotated[float, Field(ge=0, le=1e12)], ...], ...]
    """``[T, L]``: the average row, used for the part of a static run that an exit skipped."""


class Evaluation(Section):
    """Accuracy of the served integer program on a test set that nothing was tuned on."""

    dataset: str
    images: Annotated[int, Field(ge=1)]
    engine: str
    accuracy_by_timestep: tuple[Probability, ...]
    default: ExitPoint
    exit_histogram: tuple[Annotated[int, Field(ge=0)], ...]
    table: tuple[ExitPoint, ...]
    spikes_per_neuron_and_step: tuple[tuple[Annotated[float, Field(ge=0)], ...], ...]
    """``[T, LIF layers]``."""

    def mean_spike_rate(self, network: Network) -> float:
        """Spikes per hidden neuron and step over a static run, all neurons alike."""
        neurons = [float(np.prod(lif.in_shape)) for lif in network.lifs]
        return float(np.average(np.mean(self.spikes_per_neuron_and_step, axis=0), weights=neurons))


class Trunk(Section):
    """A run of another recipe whose weights a training began with."""

    recipe: str
    dataset: str
    training_seconds: float | None = None
    """Of the stages that lead to those weights."""


class Provenance(Section):
    """Where a bundle comes from."""

    recipe: str
    recipe_sha256: Sha256
    dataset: str
    dataset_sha256: dict[str, Sha256]
    seed: int
    training_images: int
    calibration_images: int
    software: dict[str, str]
    hardware: str
    training_seconds: float | None = None
    """Without those of the trunks."""
    trunks: tuple[Trunk, ...] = ()


class Manifest(Section):
    """Everything about a bundle but the weights."""

    schema_version: Literal[1] = 1
    name: Name
    version: Name
    description: str
    created: str
    labels: Annotated[tuple[str, ...], Field(min_length=2)]
    encoding: Encoding
    layers: tuple[Layer, ...]
    logit_scale: Annotated[float, Field(ge=1e-9, le=1e3)]
    weight_bits: Annotated[int, Field(ge=4, le=8)]
    exits: Exits
    evaluation: Evaluation | None = None
    provenance: Provenance
    files: dict[str, Sha256] = {}

    @model_validator(mode="after")
    def _agree(self) -> Manifest:
        network = self.network  # raises when the layers do not chain
        if network.input_shape[2] not in (1, 3):
            raise ValueError("the input must have 1 or 3 channels")
        if len(self.labels) != network.classes:
            raise ValueError(f"{len(self.labels)} labels for {network.classes} classes")
        exits, evaluation = self.exits, self.evaluation
        tables = {
            "exits.temperatures": exits.temperatures,
            "exits.accuracy_by_timestep": exits.accuracy_by_timestep,
            "exits.mean_active_pairs": exits.mean_active_pairs,
        }
        if evaluation is not None:
            tables["evaluation.accuracy_by_timestep"] = evaluation.accuracy_by_timestep
            tables["evaluation.exit_histogram"] = evaluation.exit_histogram
            tables["evaluation.spikes_per_neuron_and_step"] = evaluation.spikes_per_neuron_and_step
            if any(len(r) != len(network.lifs) for r in evaluation.spikes_per_neuron_and_step):
                raise ValueError(
                    f"evaluation.spikes_per_neuron_and_step needs {len(network.lifs)} columns"
                )
        for name, table in tables.items():
            if len(table) != self.timesteps:
                raise ValueError(f"{name} needs {self.timesteps} entries")
        points = (*exits.table, *(evaluation.table if evaluation else ()))
        if any(point.average_timesteps > self.timesteps for point in points):
            raise ValueError(f"average_timesteps exceeds {self.timesteps} timesteps")
        self._check_pairs(network)
        return self

    def _check_pairs(self, network: Network) -> None:
        possible = [connections(layer) for layer in network.synaptic]
        for row in self.exits.mean_active_pairs:
            if len(row) != len(possible):
                raise ValueError(f"exits.mean_active_pairs needs {len(possible)} columns")
            if any(pairs > most for pairs, most in zip(row, possible, strict=True)):
                raise ValueError("exits.mean_active_pairs exceeds a layer's connections")

    @property
    def network(self) -> Network:
        return Network(self.layers)

    @property
    def timesteps(self) -> int:
        return self.encoding.timesteps

    @property
    def readout(self) -> Readout:
        return Readout(self.logit_scale, self.exits.temperatures, self.exits.sharpness)

    def noise_image(self) -> Pixels:
        """The same random image every time, of the size the network takes, ``[H, W, C]``."""
        return np.random.default_rng(0).integers(0, 256, self.network.input_shape, np.uint8)

    def policy(
        self,
        entropy_threshold: float | None = None,
        min_timesteps: int | None = None,
        max_timesteps: int | None = None,
    ) -> ExitPolicy:
        """A request's exit policy; what it leaves open comes from the calibration.

        Raises:
            InvalidPolicy: a value is out of range for this model.
        """
        limit = self.timesteps if max_timesteps is None else max_timesteps
        policy = ExitPolicy(
            self.exits.default_entropy_threshold
            if entropy_threshold is None
            else entropy_threshold,
            1 if min_timesteps is None else min_timesteps,
            limit,
        )
        policy.check_limit(self.timesteps)
        return policy


@dataclass(frozen=True)
class Bundle:
    """A verified bundle in memory."""

    manifest: Manifest
    program: Program
    graph: bytes
    """The ONNX step graph."""


def load_bundle(folder: Path) -> Bundle:
    """Read and verify a bundle.

    Raises:
        BundleError: names the offending file and what to do about it.
    """
    manifest = load_manifest(folder)
    for name in (WEIGHTS, GRAPH):
        if name not in manifest.files:
            raise BundleError(f"{folder / MANIFEST} lists no {name}; export the bundle again")
    contents = {}
    for name, digest in manifest.files.items():
        data = _verified(folder, name, digest)
        if name in (WEIGHTS, GRAPH):
            contents[name] = data
    try:
        tensors = load_safetensors(contents[WEIGHTS])
    except (SafetensorError, ValueError) as error:
        raise BundleError(f"{folder / WEIGHTS} is not a safetensors file: {error}") from error
    try:
        program = program_from_tensors(manifest.network, tensors, manifest.logit_scale)
    except ModelError as error:
        raise BundleError(
            f"{folder / WEIGHTS} does not fit {MANIFEST}: {error}; export the bundle again"
        ) from error
    _check_bits(folder, manifest, program)
    return Bundle(manifest, program, contents[GRAPH])


def load_manifest(folder: Path) -> Manifest:
    """Read a bundle's manifest alone, without touching its weights.

    Raises:
        BundleError: missing, not JSON, from a newer schema, or wrong in a named field.
    """
    path = folder / MANIFEST
    try:
        document: Any = json.loads(_bytes(path))
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path} is not JSON: {error}") from error
    version = document.get("schema_version") if isinstance(document, dict) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise BundleError(
            f"{path} has schema version {version}, this release reads {SCHEMA_VERSION}; "
            "upgrade spikeserve or export the bundle with this release"
        )
    try:
        return Manifest.model_validate_json(json.dumps(document))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "manifest"
        raise BundleError(f"{path}: {where}: {first['msg']}") from error
    except ModelError as error:
        raise BundleError(f"{path}: {error}") from error


def save_bundle(folder: Path, manifest: Manifest, program: Program, graph: bytes) -> Manifest:
    """Write weights, step graph and a manifest that hashes them; returns that manifest.

    Raises:
        BundleError: the manifest is another program's; nothing was written.
    """
    _check_bits(folder, manifest, program)
    folder.mkdir(parents=True, exist_ok=True)
    contents = {WEIGHTS: save_safetensors(program_tensors(program)), GRAPH: graph}
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    return save_manifest(folder, manifest)


def save_manifest(folder: Path, manifest: Manifest) -> Manifest:
    """Write the manifest with the sha256 of every other file as it is on disk now."""
    files = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name != MANIFEST
    }
    manifest = manifest.model_copy(update={"files": files})
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=1) + "\n")
    return manifest


def _check_bits(folder: Path, manifest: Manifest, program: Program) -> None:
    if program.largest_weight > 2 ** (manifest.weight_bits - 1) - 1:
        raise BundleError(f"{folder / WEIGHTS} has weights beyond {manifest.weight_bits} bits")


def _bytes(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise BundleError(f"{path} is no regular file")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise BundleError(f"{path} is larger than {MAX_FILE_BYTES} bytes")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise BundleError(f"{path} cannot be read: {error}; is it a bundle?") from error


def _verified(folder: Path, name: str, digest: str) -> bytes:
    if Path(name).name != name:
        raise BundleError(f"{folder / MANIFEST}: file name {name!r} leaves the bundle")
    data = _bytes(folder / name)
    found = hashlib.sha256(data).hexdigest()
    if found != digest:
        raise BundleError(
            f"{folder / name} has sha256 {found[:12]}…, the manifest says {digest[:12]}…; "
            "restore the file or export the bundle again"
        )
    return data


def program_tensors(program: Program) -> dict[str, NDArray[Any]]:
    """A program's arrays by tensor name, as ``weights.safetensors`` stores them."""
    tensors: dict[str, NDArray[Any]] = {}
    for layer, synapses in zip(program.network.synaptic, program.synapses, strict=True):
        tensors[f"{layer.name}.weight"] = np.ascontiguousarray(synapses.weight)
        tensors[f"{layer.name}.bias"] = synapses.bias
    for lif, threshold in zip(program.network.lifs, program.thresholds, strict=True):
        tensors[f"{lif.name}.threshold"] = threshold
    return tensors


def program_from_tensors(
    network: Network, tensors: dict[str, NDArray[Any]], logit_scale: float
) -> Program:
    """The inverse of :func:`program_tensors`.

    Raises:
        InvalidProgram: a tensor is missing, unknown, or breaks the integer contract.
    """
    expected = {f"{layer.name}.{part}" for layer in network.synaptic for part in ("weight", "bias")}
    expected |= {f"{lif.name}.threshold" for lif in network.lifs}
    if difference := set(tensors) ^ expected:
        raise InvalidProgram(f"missing or unknown tensors: {', '.join(sorted(difference))}")
    return Program(
        network,
        tuple(
            Synapses(tensors[f"{layer.name}.weight"], tensors[f"{layer.name}.bias"])
            for layer in network.synaptic
        ),
        tuple(tensors[f"{lif.name}.threshold"] for lif in network.lifs),
        logit_scale,
    )
