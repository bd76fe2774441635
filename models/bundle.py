"""A bundle: the checkpoint on disk that the service loads.

A folder with ``manifest.json``, ``weights.safetensors``, ``step.onnx`` and ``CARD.md``.
The manifest describes everything and holds the sha256 of every other file; loading
verifies all of it and never unpickles. The format is on one page in ``docs/BUNDLE.md``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load as load_safetensors
from safetensors.numpy import save as save_safetensors

from spikeserve.models.errors import BundleError, InvalidProgram, ModelError
from spikeserve.models.layers.lif import MEMBRANE_MIN
from spikeserve.models.manifest import Manifest
from spikeserve.models.network import Network
from spikeserve.models.program import Drive, IntegerNeurons, IntegerWeights, Program
from spikeserve.models.self_test import FILE as SELF_TEST
from spikeserve.models.self_test import SelfTestFile

SCHEMA_VERSION = 2
MANIFEST, WEIGHTS, GRAPH, CARD = "manifest.json", "weights.safetensors", "step.onnx", "CARD.md"
MAX_FILE_BYTES = 1 << 30
DRIVE = fields(Drive)
LATER = {"leak_bits": 8, "leak_rounding": "floor", "max_spikes": 1, "weight_bits": None}
"""Fields of layers that came with format 2, and what they say of programs of format 1."""


@dataclass(frozen=True)
class Bundle:
    """A verified bundle in memory."""

    manifest: Manifest
    program: Program
    graph: bytes
    """The ONNX step graph."""
    self_test: SelfTestFile | None = None


def load_bundle(folder: Path) -> Bundle:
    """Read and verify a bundle.

    Raises:
        BundleError: names the offending file and what to do about it.
    """
    manifest = load_manifest(folder)
    needed = (WEIGHTS, GRAPH, *((SELF_TEST,) if manifest.self_test else ()))
    for name in needed:
        if name not in manifest.files:
            raise BundleError(f"{folder / MANIFEST} lists no {name}; export the bundle again")
    contents = {}
    for name, digest in manifest.files.items():
        data = _verified(folder, name, digest)
        if name in needed:
            contents[name] = data
    try:
        tensors = load_safetensors(contents[WEIGHTS])
    except (SafetensorError, ValueError, KeyError) as error:  # KeyError: a type numpy has not
        raise BundleError(f"{folder / WEIGHTS} is not a safetensors file: {error}") from error
    try:
        program = program_from_tensors(
            manifest.network, tensors, manifest.logit_scale, manifest.encoding.largest_count
        )
    except ModelError as error:
        raise BundleError(
            f"{folder / WEIGHTS} does not fit {MANIFEST}: {error}; export the bundle again"
        ) from error
    _check_bits(folder, manifest, program)
    if program.format > manifest.schema_version:
        raise BundleError(
            f"{folder / WEIGHTS} holds a program of format {program.format}, {MANIFEST} says "
            f"schema version {manifest.schema_version}; export the bundle again"
        )
    return Bundle(manifest, program, contents[GRAPH], _self_test(folder, manifest, contents))


def _self_test(
    folder: Path, manifest: Manifest, contents: Mapping[str, bytes]
) -> SelfTestFile | None:
    if manifest.self_test is None:
        return None
    try:
        file = SelfTestFile.read(
            contents[SELF_TEST], manifest.input_shape, manifest.network.classes
        )
    except BundleError as error:
        raise BundleError(f"{folder}: {error}; import the network again") from error
    said = (manifest.self_test.timesteps, manifest.self_test.inputs)
    if file.outputs.shape[:2] != said:
        raise BundleError(f"{folder / SELF_TEST} holds other inputs than {MANIFEST} says")
    return file


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
    if version is not None and type(version) is not int:
        raise BundleError(f"{path}: schema_version: a whole number is expected")
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
    version = max(program.format, manifest.least_schema)
    manifest = manifest.model_copy(update={"schema_version": version})
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
    document = manifest.model_dump(mode="json", by_alias=True)
    exits, encoding = document["exits"], document["encoding"]
    later = ((document, "self_test"), (exits, "readout_leak"), (encoding, "largest_count"))
    for section, name in later:  # earlier releases know none of them
        if section[name] is None:
            del section[name]
    for layer in document["layers"]:
        for name, value in LATER.items():  # earlier releases know no other
            if layer.get(name, ...) == value:
                del layer[name]
    (folder / MANIFEST).write_text(
        json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
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
    for layer, weights in zip(program.network.synaptic, program.weights, strict=True):
        tensors[f"{layer.name}.weight"] = np.ascontiguousarray(weights.weight)
        tensors[f"{layer.name}.bias"] = weights.bias
    for lif, neurons in zip(program.network.lifs, program.neurons, strict=True):
        tensors[f"{lif.name}.threshold"] = neurons.threshold
        if not neurons.is_plain:
            tensors[f"{lif.name}.reset_by"] = neurons.reset_by
            tensors[f"{lif.name}.initial"] = neurons.initial
        if neurons.is_held:
            tensors[f"{lif.name}.minimum"] = neurons.minimum
    if program.drive is not None:
        tensors |= {f"drive.{field.name}": getattr(program.drive, field.name) for field in DRIVE}
    return tensors


def program_from_tensors(
    network: Network,
    tensors: dict[str, NDArray[Any]],
    logit_scale: float,
    largest_count: int | None = None,
) -> Program:
    """The inverse of :func:`program_tensors`; ``largest_count`` is the encoding's.

    Raises:
        InvalidProgram: a tensor is missing, unknown, or breaks the integer contract.
    """
    expected = {f"{layer.name}.{part}" for layer in network.synaptic for part in ("weight", "bias")}
    expected |= {f"{lif.name}.threshold" for lif in network.lifs}
    driven = {f"drive.{field.name}" for field in DRIVE}
    for optional in (
        *({f"{lif.name}.reset_by", f"{lif.name}.initial"} for lif in network.lifs),
        *({f"{lif.name}.minimum"} for lif in network.lifs),
        driven - expected if driven.isdisjoint(expected) else set[str](),  # or a layer's name
    ):
        if optional & tensors.keys():
            expected |= optional
    if difference := set(tensors) ^ expected:
        raise InvalidProgram(f"missing or unknown tensors: {', '.join(sorted(difference))}")
    return Program(
        network,
        tuple(
            IntegerWeights(tensors[f"{layer.name}.weight"], tensors[f"{layer.name}.bias"])
            for layer in network.synaptic
        ),
        tuple(_neurons(tensors, lif.name) for lif in network.lifs),
        logit_scale,
        _drive(tensors),
        largest_count,
    )


def _neurons(tensors: Mapping[str, NDArray[Any]], name: str) -> IntegerNeurons:
    threshold = tensors[f"{name}.threshold"]
    minimum = tensors.get(f"{name}.minimum", np.full_like(threshold, MEMBRANE_MIN))
    if f"{name}.reset_by" not in tensors:
        return replace(IntegerNeurons.plain(threshold), minimum=minimum)
    reset_by, initial = tensors[f"{name}.reset_by"], tensors[f"{name}.initial"]
    return IntegerNeurons(threshold, reset_by, initial, minimum)


def _drive(tensors: Mapping[str, NDArray[Any]]) -> Drive | None:
    if any(f"drive.{field.name}" not in tensors for field in DRIVE):
        return None
    return Drive(**{field.name: tensors[f"drive.{field.name}"] for field in DRIVE})
