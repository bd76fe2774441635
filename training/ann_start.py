"""Weights to start from, out of somebody's ReLU network: its state dict as a recipe's first stage.

Convolutions, batch-norms and the linear layer are matched in order with the recipe's. What the ANN
did to pixels before they entered, ``(x / 255 - mean) / std``, becomes part of the first layer:

    W (x / 255 - mean) / std = W' p - c        p = x / PIXEL_UNIT, W' = W * PIXEL_UNIT / 255 / std

Its outputs are the ANN's, but at borders where that padded with its mean: here padding is black.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor, nn

from spikeserve.models.layers import Conv
from spikeserve.models.network import Network
from spikeserve.training.build import SpikingNetwork, SynapticModule
from spikeserve.training.errors import TrainingError
from spikeserve.training.rounding import PIXEL_UNIT

ANN = "ann.json"
"""In a run folder: which file its first stage comes from."""
BRIGHTEST = 255.0
CHANCES = 1.5
"""Times chance: an ANN below that was matched wrongly."""
NESTED = ("state_dict", "model_state_dict", "model")
"""Where checkpoints of training scripts keep the state dict."""
STATISTICS = ("running_mean", "running_var")
COUNTER = "num_batches_tracked"


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
                state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
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
        parameters = {str(k): v for k, v in state.items() if not str(k).endswith(COUNTER)}
        if bad := [name for name, tensor in parameters.items() if not _is_plain(tensor)]:
            raise TrainingError(
                f"{self.path}: {', '.join(bad)}: dense floats without NaN and infinity are expected"
            )
        return {k: v.float() for k, v in parameters.items()}, hashlib.sha256(data).hexdigest()

    def note(self, folder: Path, digest: str) -> None:
        """Remember in a run folder where its first stage comes from."""
        (folder / ANN).write_text(json.dumps(self._noted(digest), indent=1), encoding="utf-8")

    def check_noted(self, folder: Path, digest: str) -> None:
        """Check that the first stage of the run in ``folder`` comes from this file, read so.

        Raises:
            TrainingError: it was trained, or comes from another file.
        """
        path = folder / ANN
        if not path.exists():
            raise TrainingError(
                f"the first stage in {folder} was trained; start from {self.path} in another --run "
                "folder"
            )
        noted = json.loads(path.read_text(encoding="utf-8"))
        if {**noted, "file": self.path.name} != self._noted(digest):
            raise TrainingError(
                f"the first stage in {folder} comes from {noted['file']}, with another sha256 or "
                f"another normalisation; start from {self.path} in another --run folder"
            )

    def _noted(self, digest: str) -> dict[str, Any]:
        numbers = {"mean": list(self.mean), "std": list(self.std)}
        return {"file": self.path.name, "sha256": digest, **numbers}


def _is_plain(tensor: Tensor) -> bool:
    dense = tensor.layout == torch.strided and tensor.is_floating_point() and not tensor.is_meta
    return dense and bool(tensor.isfinite().all())


@dataclass(frozen=True)
class _Found:
    """One layer of the ANN, and the batch-norm behind it."""

    name: str
    weight: Tensor
    bias: Tensor
    norm: dict[str, Tensor] | None


def layers_of(state: dict[str, Tensor], *, ordered: bool) -> tuple[list[_Found], list[str]]:
    """Convolutions and linear layers with the batch-norms behind them, and what else there is,
    which no plan has.

    Args:
        ordered: whether the state dict has the order of the modules. A safetensors file has none:
            names are counted then, convolutions first.
    """
    modules: dict[str, dict[str, Tensor]] = {}
    for key in state if ordered else sorted(state, key=_counted):
        name, _, part = key.rpartition(".")
        if part != COUNTER:
            modules.setdefault(name, {})[part] = state[key]
    weighted = {name: parts for name, parts in modules.items() if _has_weights(parts)}
    norms = {name: parts for name, parts in modules.items() if _is_norm(parts)}
    names = list(weighted)
    if not ordered:
        names.sort(key=lambda name: -weighted[name]["weight"].dim())
    behind = _behind(modules, {name: weighted[name] for name in names}, norms)
    lost = norms.keys() - behind.values()
    rest = [f"{name}: a batch-norm behind no layer with weights" for name in norms if name in lost]
    for name, parts in modules.items():
        if name not in weighted and name not in norms:
            rest += [f"{name}.{part} belongs to no layer that a plan has" for part in parts]
    found = []
    for name in names:
        weight = weighted[name]["weight"]
        bias = weighted[name].get("bias", torch.zeros(len(weight)))
        found.append(_Found(name, weight, bias, norms[behind[name]] if name in behind else None))
    return found, rest


def _has_weights(parts: dict[str, Tensor]) -> bool:
    return (
        "weight" in parts and parts["weight"].dim() in (2, 4) and parts.keys() <= {"weight", "bias"}
    )


def _is_norm(parts: dict[str, Tensor]) -> bool:
    return set(STATISTICS) <= parts.keys() <= {*STATISTICS, "weight", "bias"}


def _behind(
    modules: dict[str, Any], weighted: dict[str, dict[str, Tensor]], norms: dict[str, Any]
) -> dict[str, str]:
    """Of each layer the batch-norm behind it.

    That is the next one, where this gives every batch-norm a layer with as many channels. Where
    modules are kept in another order than they are run in, it is the one that as many come before.
    """
    near: dict[str, str] = {}
    last = None
    for name in modules:
        if name in weighted:
            last = name
        elif name in norms and last is not None:
            near.setdefault(last, name)
    hidden = list(weighted)[:-1]
    convolutions = [name for name in hidden if weighted[name]["weight"].dim() == 4]
    counted = [dict(zip(some, norms, strict=False)) for some in (hidden, convolutions)]
    for each, some in zip((near, *counted), (hidden, hidden, convolutions), strict=True):
        complete = len(each) == len(norms) and (each is near or len(some) == len(norms))
        if complete and all(
            name in some and len(weighted[name]["weight"]) == len(norms[norm]["running_mean"])
            for name, norm in each.items()
        ):
            return each
    return near


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
    found, rest = layers_of(state, ordered=start.path.suffix != ".safetensors")
    ours = model.synaptic
    wrong = [*_mismatches(ours, found, start), *rest]
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
        elif any(part.shape != (theirs[0],) for part in (layer.bias, *(layer.norm or {}).values())):
            wrong.append(f"{layer.name}: its bias or the batch-norm behind it has other channels")
        elif layer.norm is not None and (layer.norm["running_var"] < 0).any():
            wrong.append(f"{layer.name}: the batch-norm behind it has negative variances")
    channels = ours[0].layer.in_shape[2]
    for name, values in (("mean", start.mean), ("std", start.std)):
        if values and len(values) != channels:
            wrong.append(f"{name} has {len(values)} numbers for {channels} channels")
    if any(value <= 0 for value in start.std):
        wrong.append("std must be positive")
    if any(not 0 <= value <= 1 for value in start.mean):
        wrong.append("mean must lie within 0…1, as of pixels divided by 255")
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


def suspicions(accuracy: Sequence[float], network: Network) -> list[str]:
    """What to look for where an ANN is hardly better than chance on held-out images."""
    if accuracy[0] >= CHANCES / network.classes:
        return []
    return [
        "that is hardly better than chance: does it order its classes as the data set does, and "
        "are its normalisation (--ann-mean, --ann-std), pools, strides and padding the plan's?"
    ]
