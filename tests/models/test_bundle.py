"""A bundle that is damaged, foreign or from the future is refused, naming file and fix."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from safetensors.torch import save_file as save_tensors

from spikeserve.models.bundle import load_bundle, load_manifest, save_manifest
from spikeserve.models.errors import BundleError, InvalidNetwork, InvalidProgram
from spikeserve.models.layers import Conv, Lif, Linear, Pool
from spikeserve.models.network import Network
from spikeserve.models.program import IntegerNeurons, IntegerWeights, Program
from tests.programs import random_network, random_program

BEHIND = (Lif("n", (1, 1, 1)), Linear("l", (1, 1, 1), 2))


@pytest.fixture
def folder(bundle_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle_folder, tmp_path / "bundle"))


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads((folder / "manifest.json").read_text())
    change(document)
    (folder / "manifest.json").write_text(json.dumps(document))


def rehash(folder: Path) -> None:
    """Make the hashes right again, so that the next check is the one that refuses."""
    manifest = json.loads((folder / "manifest.json").read_text())
    for name in manifest["files"]:
        manifest["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_what_was_saved_is_loaded(folder: Path) -> None:
    bundle = load_bundle(folder)
    program = random_program(random_network())
    assert bundle.program.network == program.network
    for loaded, original in zip(bundle.program.weights, program.weights, strict=True):
        assert np.array_equal(loaded.weight, original.weight)
        assert np.array_equal(loaded.bias, original.bias)
    assert save_manifest(folder, bundle.manifest) == bundle.manifest


def test_changed_weights_are_refused(folder: Path) -> None:
    path = folder / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(BundleError, match=r"weights\.safetensors has sha256 .* export"):
        load_bundle(folder)


@pytest.mark.parametrize("name", ["weights.safetensors", "step.onnx", "manifest.json"])
def test_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(BundleError, match=name):
        load_bundle(folder)


def test_newer_schema_says_upgrade(folder: Path) -> None:
    edit(folder, lambda manifest: manifest.update(schema_version=3))
    with pytest.raises(BundleError, match=r"schema version 3.*upgrade"):
        load_bundle(folder)


@pytest.mark.parametrize("version", [True, 1.0, "1", [1]])
def test_a_schema_version_is_a_whole_number(folder: Path, version: object) -> None:
    edit(folder, lambda manifest: manifest.update(schema_version=version))
    with pytest.raises(BundleError, match="schema_version: a whole number"):
        load_bundle(folder)


def test_types_that_numpy_has_not_are_refused(folder: Path) -> None:
    tensors = {k: torch.from_numpy(v) for k, v in load_file(folder / "weights.safetensors").items()}
    tensors["conv1.bias"] = tensors["conv1.bias"].bfloat16()
    save_tensors(tensors, folder / "weights.safetensors")
    rehash(folder)
    with pytest.raises(BundleError, match="not a safetensors file"):
        load_bundle(folder)


def test_wrong_shapes_are_refused(folder: Path) -> None:
    tensors = load_file(folder / "weights.safetensors")
    tensors["conv1.weight"] = tensors["conv1.weight"][:-1].copy()
    save_file(tensors, folder / "weights.safetensors")
    rehash(folder)
    with pytest.raises(BundleError, match=r"conv1\.weight must be int8"):
        load_bundle(folder)


def test_missing_tensor_is_named(folder: Path) -> None:
    tensors = load_file(folder / "weights.safetensors")
    del tensors["lif1.threshold"]
    save_file(tensors, folder / "weights.safetensors")
    rehash(folder)
    with pytest.raises(BundleError, match=r"lif1\.threshold"):
        load_bundle(folder)


def test_pickle_instead_of_safetensors_is_refused(folder: Path) -> None:
    (folder / "weights.safetensors").write_bytes(b"\x80\x04cos\nsystem\n(S'true'\ntR.")
    rehash(folder)
    with pytest.raises(BundleError, match="not a safetensors file"):
        load_bundle(folder)


def test_file_outside_the_bundle_is_refused(folder: Path) -> None:
    edit(folder, lambda manifest: manifest["files"].update({"../x": "0" * 64}))
    with pytest.raises(BundleError, match="leaves the bundle"):
        load_bundle(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(labels=["a", "b"]), "2 labels for 10 classes"),
        (lambda m: m.update(surprise=1), "surprise"),
        (lambda m: m["layers"][0].update(kernel=0), "kernel"),
        (lambda m: m["layers"][0].update(kind="lstm"), "layers"),
        (lambda m: m["layers"][0].update(out_channels=8), "expects"),
        (lambda m: m["layers"][0].update(in_shape=[60000, 60000, 3]), "expects|neurons"),
        (lambda m: m["exits"].update(temperatures=[1.0]), "temperatures"),
        (lambda m: m["exits"].update(temperatures=[1.0, -1.0, 1.0, 1.0]), "temperatures"),
        (lambda m: m["exits"].update(table=[]), "exits.table"),
        (lambda m: m["exits"]["table"][0].update(average_timesteps=5), "exceeds 4 timesteps"),
        (lambda m: m["exits"].update(mean_active_pairs=[[1.0]] * 4), "needs 4 columns"),
        (lambda m: m["exits"].update(mean_active_pairs=[[1e11] * 4] * 4), "connections"),
        (lambda m: m["exits"].update(mean_active_pairs=[[-1.0] * 4] * 4), "mean_active_pairs"),
        (lambda m: m["layers"][0].update(kernel=31, padding=15, stride=1), "must be int8"),
        (lambda m: m["layers"][0].update(padding=0, kernel=31), "empty|expects"),
        (lambda m: m["layers"][0].update(stride=0), "stride"),
        (lambda m: m["layers"][-1].update(in_shape=[65536, 65536, 65536]), "expects"),
        (lambda m: m["layers"][-1].update(out_channels=10**9), "layers"),
        (lambda m: m.update(logit_scale=-1), "logit_scale"),
        (lambda m: m.update(logit_scale=1e308), "logit_scale"),
        (lambda m: m["exits"].update(temperatures=[5e-324] * 4), "temperatures"),
        (lambda m: m.update(weight_bits=4), "beyond 4 bits"),
        (lambda m: m.update(weight_bits=2), "weight_bits"),
        (lambda m: m["files"].update({"a\0b": "0" * 64}), "cannot be read"),
        (lambda m: m["encoding"].update(kind="rate"), "encoding"),
        (lambda m: m.update(name="../../etc"), "name"),
        (lambda m: m.pop("exits"), "exits"),
    ],
)
def test_manifest_that_contradicts_itself_is_refused(
    folder: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    edit(folder, change)
    with pytest.raises(BundleError, match=message):
        load_bundle(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"schema_version": "x"}', "[" * 100_000])
def test_manifest_that_is_none_is_refused(folder: Path, text: str) -> None:
    (folder / "manifest.json").write_text(text)
    with pytest.raises(BundleError, match=r"manifest\.json"):
        load_bundle(folder)


def test_the_largest_layers_there_may_be_are_looked_at_in_no_time(folder: Path) -> None:
    """200 layers of 65,536 windows took a minute while windows were counted one by one."""
    shape = [65_536, 1, 1]
    conv = {"kind": "conv", "in_shape": shape, "out_channels": 1, "kernel": 1, "padding": 0}
    layers = [
        layer
        for k in range(200)
        for layer in (
            conv | {"name": f"c{k}"},
            {"kind": "lif", "name": f"l{k}", "in_shape": shape},
        )
    ]
    linear = {"kind": "linear", "name": "classifier", "in_shape": shape, "out_channels": 10}
    pairs = [[1.0] * 201] * 4
    edit(folder, lambda manifest: manifest.update(layers=[*layers, linear]))
    edit(folder, lambda manifest: manifest["exits"].update(mean_active_pairs=pairs))
    manifest = load_manifest(folder)
    assert manifest.network.synaptic[0].connections == 65_536
    pairs = [[65_537.0] * 201] * 4
    edit(folder, lambda manifest: manifest["exits"].update(mean_active_pairs=pairs))
    with pytest.raises(BundleError, match="connections"):
        load_manifest(folder)


@pytest.mark.parametrize(
    "layers",
    [
        (),
        (Conv("c", (4, 4, 1), 2),),
        (Linear("l", (4, 4, 1), 2),),
        (Conv("c", (60_000, 60_000, 1), 1, kernel=31, stride=31), *BEHIND),
        (Conv("c", (2048, 2048, 1), 1, kernel=31, padding=15), *BEHIND),
        (Linear("l", (2, 2, 1), 2), Linear("m", (1, 1, 2), 2)),
        (Linear("l", (2, 2, 1), 2), Lif("l", (1, 1, 2)), Linear("m", (1, 1, 2), 2)),
        (
            Conv("c", (2, 2, 1), 2, kernel=5, padding=0),
            Lif("n", (1, 1, 2)),
            Linear("m", (1, 1, 2), 2),
        ),
    ],
    ids=[
        "empty",
        "no classifier",
        "no neurons",
        "huge input",
        "huge patches",
        "no neurons between",
        "names repeat",
        "empty output",
    ],
)
def test_layers_that_make_no_classifier_are_refused(layers: tuple[Any, ...]) -> None:
    with pytest.raises(InvalidNetwork):
        Network(layers)


def test_a_device_in_place_of_a_file_is_refused(folder: Path) -> None:
    (folder / "weights.safetensors").unlink()
    (folder / "weights.safetensors").symlink_to("/dev/zero")
    with pytest.raises(BundleError, match="no regular file"):
        load_bundle(folder)


def test_counts_of_many_overlapping_pools_are_bounded_whatever_the_weights() -> None:
    conv = Conv("conv", (17, 17, 1), 1, shift=5)
    lif = Lif("lif", conv.out_shape)
    pools: list[Pool] = []
    for index in range(12):
        before = pools[-1].out_shape if pools else lif.out_shape
        pools.append(Pool(f"pool{index}", before, 2, "sum", stride=1))
    network = Network((conv, lif, *pools, Linear("classifier", pools[-1].out_shape, 2)))
    weights = tuple(
        IntegerWeights(
            np.zeros(layer.weight_shape, np.int8), np.zeros(layer.out_channels, np.int32)
        )
        for layer in network.synaptic
    )
    with pytest.raises(InvalidProgram, match="inputs beyond"):
        Program(network, weights, (IntegerNeurons.plain(np.ones(1, np.int32)),), 1.0)
