"""Weights to start from, out of somebody's ReLU network: its state dict as a recipe's first stage.

Convolutions, batch-norms and the linear layer are matched in order with the recipe's. What the ANN
did to pixels before they entered, ``(x / 255 - mean) / std``, becomes part of the first layer:

    W (x / 255 - mean) / std = W' p - c        p = x / PIXEL_UNIT, W' = W * PIXEL_UNIT / 255 / std

Its outputs are the ANN's, but at borders where that padded with its mean: here padding is black.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor, nn

from spikeserve.models.layers import Conv
from spikeserve.training.build import SpikingNetwork, SynapticModule
from spikeserve.training.errors import TrainingError
from spikeserve.training.rounding import PIXEL_UNIT

ANN = "ann.json"
"""In a run folder: which file its first stage comes from."""
BRIGHTEST = 255.0
NESTED = ("state_dict", "model_state_dict", "model")
"""Where checkpoints of training scripts keep the state dict."""
STATISTICS = ("running_mean", "running_var")


@dataclass(frozen=True)
class AnnStart:
    """An ANN's file, and how it saw pixels.

    ``mean`` and ``std`` have a number a channel, or none: pixels as 0…1.
    """

    path: Path
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def read(self) -> tuple[dict[str, Tensor], str]:
        """The state dict, and the file's sha256.

        Raises:
            TrainingError: no state dict; says what to save instead.
        """
        try:
            data = self.path.read_bytes()
        except OSError as error:
            raise TrainingError(f"{self.path} cannot be read: {error.strerror}") from error
        try:
            if self.path.suffix == ".safetensors":
                state: Any = load_safetensors(data)
            else:
                state = torch.load(self.path, map_location="cpu", weights_only=True)
        except SafetensorError as error:
            raise TrainingError(f"{self.path} is no safetensors file: {error}") from error
        except Exception as error:  # whatever unpickling raises; code is never run
            raise TrainingError(
                f"{self.path} holds no plain state dict; save torch.save(model.state_dict(), …), "
                "or a .safetensors file"
            ) from error
        for name in NESTED:
            if isinstance(state, dict) and isinstance(state.get(name), dict):
                state = state[name]
        if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
            raise TrainingError(f"{self.path} holds no state dict: names and tensors are expected")
        return {str(k): v.float() for k, v in state.items()}, hashlib.sha256(data).hexdigest()

    def note(self, folder: Path, digest: str) -> None:
        """Remember in a run folder where its first stage comes from."""
        text = json.dumps({"file": self.path.name, "sha256": digest}, indent=1)
        (folder / ANN).write_text(text, encoding="utf-8")


@dataclass(frozen=True)
class _Found:
    """One layer of the ANN, and the batch-norm behind it."""

    name: str
    weight: Tensor
    bias: Tensor
    norm: dict[str, Tensor] | None


def layers_of(state: dict[str, Tensor], *, ordered: bool) -> list[_Found]:
    """Convolutions and linear layers, and the batch-norms behind them.

    Args:
        ordered: whether the state dict has the order of the modules. A safetensors file has none:
            names are counted then, convolutions first.
    """
    modules: dict[str, dict[str, Tensor]] = {}
    for key in state if ordered else sorted(state, key=_counted):
        name, _, part = key.rpartition(".")
        modules.setdefault(name, {})[part] = state[key]
    weighted = {n: p for n, p in modules.items() if "weight" in p and p["weight"].dim() in (2, 4)}
    names = list(weighted)
    if not ordered:
        names.sort(key=lambda name: -weighted[name]["weight"].dim())
    norms = [parts for parts in modules.values() if all(part in parts for part in STATISTICS)]
    if len(norms) == len(names) - 1:
        behind: dict[str, dict[str, Tensor]] = dict(zip(names, norms, strict=False))
    else:
        behind = _nearest(modules, weighted)
    return [
        _Found(
            name,
            weighted[name]["weight"],
            weighted[name].get("bias", torch.zeros(len(weighted[name]["weight"]))),
            behind.get(name),
        )
        for name in names
    ]


def _nearest(
    modules: dict[str, dict[str, Tensor]], weighted: dict[str, dict[str, Tensor]]
) -> dict[str, dict[str, Tensor]]:
    """Batch-norms by the layer that stands before them."""
    behind: dict[str, dict[str, Tensor]] = {}
    last = None
    for name, parts in modules.items():
        if name in weighted:
            last = name
        elif last is not None and all(part in parts for part in STATISTICS):
            behind.setdefault(last, parts)
    return behind


def _counted(name: str) -> list[tuple[int, str]]:
    """So that layer 10 comes behind layer 9."""
    parts = re.split(r"(\d+)", name)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


@torch.no_grad()
def set_from_ann(model: SpikingNetwork, state: dict[str, Tensor], start: AnnStart) -> list[str]:
    """Set a network with batch-norm to an ANN's weights; returns what is not quite the same.

    Raises:
        TrainingError: names everything that does not fit.
    """
    found = layers_of(state, ordered=start.path.suffix != ".safetensors")
    ours = model.synaptic
    wrong = _mismatches(ours, found, start)
    if wrong:
        raise TrainingError(f"{start.path} does not fit the recipe's plan: {'; '.join(wrong)}")
    channels = ours[0].layer.in_shape[2]
    mean = torch.tensor(start.mean or (0.0,) * channels)
    std = torch.tensor(start.std or (1.0,) * channels)
    for index, (module, layer) in enumerate(zip(ours, found, strict=True)):
        weight, shift = layer.weight, -layer.bias
        if index == 0:
            height, width, _ = module.layer.in_shape
            if weight.dim() == 2:
                weight = weight.view(-1, channels, height, width)
            shift = shift + (weight * _maps(mean / std)).sum(dim=(1, 2, 3))
            weight = weight * _maps(PIXEL_UNIT / BRIGHTEST / std)
        module.weight.copy_(_rows(module, weight))
        if module.norm is None:
            module.bias.copy_(-shift)
        else:
            _set_norm(module.norm, layer.norm, shift)
    model.readout_scale.fill_(1)
    return _notes(ours, found, mean)


def _maps(numbers: Tensor) -> Tensor:
    """One a channel, beside maps."""
    return numbers[:, None, None]


def _rows(module: SynapticModule, weight: Tensor) -> Tensor:
    """``[c_out, rows]``, rows over the window's rows, columns and channels."""
    if weight.dim() == 4:
        return weight.permute(0, 2, 3, 1).flatten(1)
    height, width, channels = module.layer.in_shape
    return weight.view(-1, channels, height, width).permute(0, 2, 3, 1).flatten(1)


def _set_norm(norm: nn.BatchNorm2d, theirs: dict[str, Tensor] | None, shift: Tensor) -> None:
    """The batch-norm of sums that are ``shift`` above what the ANN's saw."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    parts = theirs or {}
    ones, zeros = torch.ones_like(shift), torch.zeros_like(shift)
    norm.running_mean.copy_(parts.get("running_mean", zeros) + shift)
    norm.running_var.copy_(parts.get("running_var", ones - norm.eps))
    norm.weight.copy_(parts.get("weight", ones))
    norm.bias.copy_(parts.get("bias", zeros))


def _mismatches(ours: list[SynapticModule], found: list[_Found], start: AnnStart) -> list[str]:
    if any(module.layer.joins for module in ours):
        return [
            "a plan with shortcuts cannot be started from a state dict, which has no order of them"
        ]
    wrong = []
    if len(found) != len(ours):
        names = ", ".join(layer.name for layer in found) or "none"
        wrong.append(
            f"{len(ours)} layers with weights are planned, the file has {len(found)} ({names})"
        )
    for module, layer in zip(ours, found, strict=False):
        theirs, wanted = tuple(layer.weight.shape), _wanted(module)
        if theirs != wanted:
            wrong.append(
                f"{layer.name}.weight is {theirs}, {module.layer.name} is planned {wanted}"
            )
        elif layer.norm is not None and module.norm is None:
            wrong.append(f"{layer.name}: a batch-norm behind the classifier")
        elif layer.norm is not None and layer.norm["running_mean"].shape != (theirs[0],):
            wrong.append(f"{layer.name}: the batch-norm behind it has other channels")
    channels = ours[0].layer.in_shape[2]
    for name, values in (("mean", start.mean), ("std", start.std)):
        if values and len(values) != channels:
            wrong.append(f"{name} has {len(values)} numbers for {channels} channels")
    if any(value <= 0 for value in start.std):
        wrong.append("std must be positive")
    return wrong


def _wanted(module: SynapticModule) -> tuple[int, ...]:
    """The shape of torch's weights."""
    layer = module.layer
    if isinstance(layer, Conv):
        return (layer.out_channels, layer.in_shape[2] // layer.groups, *layer.window.kernel)
    height, width, channels = layer.in_shape
    return (layer.out_channels, channels * height * width)


def _notes(ours: list[SynapticModule], found: list[_Found], mean: Tensor) -> list[str]:
    notes = []
    if bare := [layer.name for layer in found[:-1] if layer.norm is None]:
        notes.append(f"no batch-norm behind {', '.join(bare)}: taken as one that changes nothing")
    if mean.any() and any(ours[0].layer.window.padding):
        notes.append("the ANN padded with its mean, here padding is black: borders differ")
    return notes
